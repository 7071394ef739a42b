//! The words of audit records: names and reasons that others may have made up, cut and cleaned to what a record takes.

use consort_aggregation::Digest;
use consort_audit::{Code, Hash, JobId, MAX_TEXT_BYTES, Organisation, Text};

/// A word of a record.
pub fn text(words: &str) -> Text {
    Text::new(clean(words)).expect("clean() leaves 1 to 256 printable bytes")
}

/// A reason code of a record.
pub fn code(words: &str) -> Code {
    Code::new(clean(words)).expect("clean() leaves 1 to 256 printable bytes")
}

/// An organisation's name in a record, also one that a stranger made up.
pub fn organisation(name: &str) -> Organisation {
    Organisation::new(clean(name)).expect("clean() leaves 1 to 256 printable bytes")
}

/// Whom a record names of a peer that was refused before it said who it is.
pub const UNKNOWN: &str = "unknown";

/// A job's name in a record.
pub fn job(name: &consort_contract::JobId) -> JobId {
    JobId::new(name.as_str()).expect("a job's name is a short printable word")
}

/// A digest in a record.
pub fn hash(digest: &Digest) -> Hash {
    Hash(*digest.as_bytes())
}

fn clean(words: &str) -> String {
    let printable: String = words
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .take(MAX_TEXT_BYTES)
        .collect();
    if printable.is_empty() {
        "unnamed".to_owned()
    } else {
        printable
    }
}
