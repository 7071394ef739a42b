//! Records of blame and what they are verified with: bytes of a log that an auditor was given.

use consort_round::blame::{Blame, Proceedings};

use crate::{Decoder, Outcome, code};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "blame-record",
        decode: record,
    },
    Decoder {
        name: "blame-proceedings",
        decode: proceedings,
    },
];

fn record(bytes: &[u8]) -> Outcome {
    let record = Blame::decode(bytes).map_err(code!())?;
    assert_eq!(record.encode(), bytes, "one record has one encoding");
    Ok(())
}

fn proceedings(bytes: &[u8]) -> Outcome {
    let proceedings = Proceedings::decode(bytes).map_err(code!())?;
    assert_eq!(proceedings.encode(), bytes, "one attempt has one encoding");
    Ok(())
}
