//! Why a sealed data set does not open.

use consort_contract::Label;

use crate::data_key::KeyName;

/// A sealed data set was not written or does not open. No message holds content.
#[derive(Debug, thiserror::Error)]
pub enum SealedDataError {
    /// The disk failed.
    #[error("the file cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// The header is none.
    #[error("this is no sealed data set: {0}; make one with `consort data encrypt`")]
    Header(&'static str),
    /// It is another data set.
    #[error("this file is data set {found}, not {expected}")]
    OtherDataSet {
        /// What the header names.
        found: Label,
        /// What was asked for.
        expected: Label,
    },
    /// It is under another key id.
    #[error("this file lies under the data key {found}, not {expected}")]
    OtherKey {
        /// What the header names.
        found: Label,
        /// What was asked for.
        expected: Label,
    },
    /// The key does not fit.
    #[error("the key given is not {0}, or the header of the file was changed")]
    WrongKey(KeyName),
    /// A chunk does not open.
    #[error("chunk {0} does not open: the file was cut, reordered or changed there; restore it")]
    Chunk(u64),
    /// More content than one file may have.
    #[error("the content is longer than 2^32 chunks; divide it into several files")]
    TooLong,
}

impl SealedDataError {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "sealed_data_io",
            Self::Header(_) => "sealed_data_header",
            Self::OtherDataSet { .. } => "sealed_data_other_data_set",
            Self::OtherKey { .. } => "sealed_data_other_key",
            Self::WrongKey(_) => "sealed_data_wrong_key",
            Self::Chunk(_) => "sealed_data_chunk",
            Self::TooLong => "sealed_data_too_long",
        }
    }
}
