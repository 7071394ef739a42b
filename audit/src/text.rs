//! The words of a record: names and codes, short and printable, each of its own type.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name or code, in bytes: a line of the log should fit a screen.
pub const MAX_TEXT_BYTES: usize = 256;

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Accepts 1 to [`MAX_TEXT_BYTES`] bytes without control characters.
            ///
            /// # Errors
            /// [`InvalidText`] otherwise.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidText> {
                check(text.into()).map(Self)
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

text_type! {
    /// The id of a job.
    JobId
}

text_type! {
    /// The name of an organisation, as in the roster.
    Organisation
}

text_type! {
    /// The stable code of a reason, as the `code()` of an error.
    Code
}

text_type! {
    /// A short remark: the build of a program, the spelling of a dangerous choice, who submitted a job.
    Text
}

/// An empty, long or unprintable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name or code in a record has 1 to {MAX_TEXT_BYTES} bytes and no control characters")]
pub struct InvalidText;

impl InvalidText {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        "invalid_text"
    }
}

fn check(text: String) -> Result<String, InvalidText> {
    let acceptable =
        !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control);
    if acceptable {
        Ok(text)
    } else {
        Err(InvalidText)
    }
}
