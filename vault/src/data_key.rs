//! A data key, and what it is known by.

use std::fmt;

use consort_contract::Label;
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

/// Bytes of a data key.
pub const DATA_KEY_BYTES: usize = 32;

/// The key under which a data set lies. Zeroised on drop; prints nothing.
///
/// # Security
/// No record is encrypted under it directly: every sealed file derives keys of its own from it.
pub struct DataKey(Zeroizing<[u8; DATA_KEY_BYTES]>);

impl DataKey {
    /// Draws a key from the operating system.
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0; DATA_KEY_BYTES]);
        OsRng.fill_bytes(bytes.as_mut());
        Self(bytes)
    }

    /// Takes a key out of its wrapping; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; DATA_KEY_BYTES] = bytes.try_into().ok()?;
        Some(Self(Zeroizing::new(*bytes)))
    }

    /// The secret bytes, for wrapping and for derivation.
    pub fn expose(&self) -> &[u8; DATA_KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(32 bytes)")
    }
}

/// Which data key: its id, its version from 1, and the one data set that it is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName {
    /// The id, the same over all versions.
    pub key_id: Label,
    /// The version: rotation makes the next one.
    pub version: u32,
    /// The data set that lies under it, by the name that jobs use.
    pub data_set: Label,
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key_id,
            version,
            data_set,
        } = self;
        write!(f, "{key_id} version {version} of data set {data_set}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_prints_no_byte_of_itself_and_has_one_length() {
        assert_eq!(format!("{:?}", DataKey::random()), "DataKey(32 bytes)");
        assert!(DataKey::from_slice(&[7; 32]).is_some());
        for length in [0, 31, 33] {
            assert!(DataKey::from_slice(&vec![7; length]).is_none());
        }
    }
}
