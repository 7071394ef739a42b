//! Names: organisations and jobs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes. Names stand in messages, log lines and file names, so they stay short.
pub const MAX_NAME_BYTES: usize = 64;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty or longer than [`MAX_NAME_BYTES`].
    #[error("a name has 1 to {MAX_NAME_BYTES} characters, not {0}")]
    Length(usize),
    /// The text has a character outside `a-z`, `0-9` and `-`, or starts or ends with `-`.
    #[error("a name consists of a-z, 0-9 and '-', and neither starts nor ends with '-'")]
    Character,
}

impl NameError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length(_) => "name_length",
            Self::Character => "name_character",
        }
    }
}

fn checked_name(text: &str) -> Result<String, NameError> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES {
        return Err(NameError::Length(text.len()));
    }
    let letters = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !letters || text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Character);
    }
    Ok(text.to_owned())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            /// [`NameError`] when the text is too long, empty or has other characters.
            pub fn new(text: &str) -> Result<Self, NameError> {
                checked_name(text).map(Self)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

name_type! {
    /// An organisation of the consortium, as its roster names it.
    OrganisationId
}

name_type! {
    /// A job, as its coordinator names it.
    JobId
}

name_type! {
    /// A short name inside a job: its own, its purpose, its data set.
    Label
}

name_type! {
    /// A consortium, as its founders named it in the roster.
    ConsortiumId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_accepted() {
        assert_eq!(
            OrganisationId::new("clinic-3").unwrap().as_str(),
            "clinic-3"
        );
    }

    #[test]
    fn names_that_could_escape_a_path_or_a_log_line_are_refused() {
        for bad in ["", "-a", "a-", "A", "a b", "a/b", "..", "a\n", "ä"] {
            assert!(OrganisationId::new(bad).is_err(), "{bad:?}");
        }
        assert!(JobId::new(&"a".repeat(65)).is_err());
    }
}
