//! Encrypted data sets, as a participant finds them in its file.

use crate::{Decoder, Outcome, code};
use consort_vault::sealed_data::Header;

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "sealed-data-header",
        decode: header,
    },
    Decoder {
        name: "sealed-data-start",
        decode: start,
    },
];

fn header(bytes: &[u8]) -> Outcome {
    let header = Header::from_bytes(bytes).map_err(code!())?;
    assert_eq!(header.to_bytes(), bytes);
    Ok(())
}

/// The header behind its length, and whatever follows it.
fn start(mut bytes: &[u8]) -> Outcome {
    Header::read(&mut bytes).map(drop).map_err(code!())
}
