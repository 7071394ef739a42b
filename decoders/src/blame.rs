//! Records of blame, what they are verified with, and records of split views: bytes that an auditor was given.

use consort_round::SplitView;
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
    Decoder {
        name: "split-view",
        decode: split_view,
    },
];

fn split_view(bytes: &[u8]) -> Outcome {
    let record = SplitView::decode(bytes).map_err(code!())?;
    assert_eq!(record.encode(), bytes, "one record has one encoding");
    Ok(())
}

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
