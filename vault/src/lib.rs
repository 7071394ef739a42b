//! Sealing: state on disk ([`StateKey`], [`SealedRecords`]), data sets under a data key ([`sealed_data`]), and data keys on their way from an
//! organisation's broker to its participant ([`release`]).

mod data_key;
mod records;
pub mod release;
pub mod sealed_data;
mod state;

pub use data_key::{DATA_KEY_BYTES, DataKey, KeyName};
pub use records::{SealedRecords, SealedRecordsError};
pub use state::{StateKey, VaultError};
