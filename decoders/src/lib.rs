//! Every decoder of outside bytes under one signature, so that one fuzzer, one corpus and one test of memory cover them all.
//!
//! Nothing of the product depends on this crate. `decoders/corpus` holds a folder for each decoder: valid messages, and what
//! fuzzing found; `scripts/fuzz.sh` runs the fuzzer over them, `tests/` replays them and breaks them.

mod aggregation;
#[cfg(feature = "attestation")]
mod attestation;
mod audit;
mod blame;
#[cfg(feature = "disk")]
mod disk;
mod documents;
#[cfg(feature = "disk")]
mod vault;
#[cfg(feature = "wire")]
mod wire;

pub use aggregation::seal;
#[cfg(feature = "attestation")]
pub use attestation::{MACHINE, TD};
#[cfg(feature = "disk")]
pub use disk::{MODEL, coordinator, seal_state};

/// What a decoder made of some bytes: nothing more than that they are good, or the stable code of the error.
pub type Outcome = Result<(), String>;

/// A decoder of bytes that others chose.
#[derive(Clone, Copy)]
pub struct Decoder {
    /// Its name, which is that of its folder in the corpus.
    pub name: &'static str,
    /// Decodes. What is accepted and has one encoding is encoded again and compared, and a difference panics.
    pub decode: fn(&[u8]) -> Outcome,
}

/// All decoders.
pub fn all() -> impl Iterator<Item = Decoder> {
    [
        aggregation::DECODERS,
        #[cfg(feature = "attestation")]
        attestation::DECODERS,
        audit::DECODERS,
        blame::DECODERS,
        #[cfg(feature = "disk")]
        disk::DECODERS,
        documents::DECODERS,
        #[cfg(feature = "disk")]
        vault::DECODERS,
        #[cfg(feature = "wire")]
        wire::DECODERS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The decoder with this name.
#[must_use]
pub fn named(name: &str) -> Option<Decoder> {
    all().find(|decoder| decoder.name == name)
}

/// Text, or the refusal of bytes that are none.
fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "not_text".to_owned())
}

/// A constant number of bytes in front, and the rest.
fn head<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), String> {
    bytes
        .split_first_chunk::<N>()
        .map(|(head, rest)| (*head, rest))
        .ok_or_else(|| "too_short".to_owned())
}

/// The stable code of an error.
macro_rules! code {
    () => {
        |error| error.code().to_owned()
    };
}
use code;
