//! Which instructions make the keystream: chosen once for the process, and the same bits whichever they are.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU8, Ordering},
};

/// The instructions that make the keystream, from those that every processor has to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The `aes` crate: the processor's AES instructions where it finds them, bit-sliced code elsewhere.
    Portable,
    /// AES-NI on x86-64: one block an instruction.
    AesNi,
    /// VAES with AVX2: two blocks an instruction.
    Vaes256,
    /// VAES with AVX-512: four blocks an instruction.
    Vaes512,
}

/// What [`force_tier`] asked for: a position in [`Tier::ALL`], or this when it was never called.
const UNFORCED: u8 = u8::MAX;
static FORCED: AtomicU8 = AtomicU8::new(UNFORCED);

impl Tier {
    /// All tiers, the widest instructions last.
    pub const ALL: [Self; 4] = [Self::Portable, Self::AesNi, Self::Vaes256, Self::Vaes512];

    /// The tiers that this processor has, the widest instructions last.
    ///
    /// [`Tier::Portable`] is always among them.
    pub fn available() -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.into_iter().filter(|tier| tier.is_available())
    }

    /// The tier of streams made from now on: the one of [`force_tier`], else the widest.
    #[must_use]
    pub fn current() -> Self {
        let forced = Self::ALL.get(usize::from(FORCED.load(Ordering::Relaxed)));
        forced
            .copied()
            .or_else(|| Self::available().next_back())
            .unwrap_or(Self::Portable)
    }

    /// Whether this processor has the instructions.
    #[must_use]
    pub fn is_available(self) -> bool {
        self.is_among(Features::of_this_processor())
    }

    fn is_among(self, features: Features) -> bool {
        match self {
            Self::Portable => true,
            Self::AesNi => features.aes && features.ssse3,
            Self::Vaes256 => Self::AesNi.is_among(features) && features.vaes && features.avx2,
            Self::Vaes512 => Self::Vaes256.is_among(features) && features.avx512bw,
        }
    }

    /// The name in configuration and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::AesNi => "aes_ni",
            Self::Vaes256 => "vaes_256",
            Self::Vaes512 => "vaes_512",
        }
    }
}

/// What the tiers need of a processor.
#[derive(Clone, Copy, Default)]
struct Features {
    aes: bool,
    ssse3: bool,
    vaes: bool,
    avx2: bool,
    avx512bw: bool,
}

impl Features {
    /// The standard library asks the processor, and whether the system saves the registers, once.
    #[cfg(target_arch = "x86_64")]
    fn of_this_processor() -> Self {
        Self {
            aes: is_x86_feature_detected!("aes"),
            ssse3: is_x86_feature_detected!("ssse3"),
            vaes: is_x86_feature_detected!("vaes"),
            avx2: is_x86_feature_detected!("avx2"),
            avx512bw: is_x86_feature_detected!("avx512bw"),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn of_this_processor() -> Self {
        Self::default()
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tier {
    type Err = TierError;

    fn from_str(name: &str) -> Result<Self, TierError> {
        let tier = Self::ALL.into_iter().find(|tier| tier.name() == name);
        tier.ok_or(TierError::Unknown)
    }
}

/// Makes all streams of this process from now on with the given tier.
///
/// For comparing tiers and for distrusting one: the bits are the same in any case.
///
/// # Errors
/// [`TierError::Unavailable`] when this processor lacks the instructions; the choice then stays what it was.
pub fn force_tier(tier: Tier) -> Result<(), TierError> {
    force_among(tier, Features::of_this_processor())
}

fn force_among(tier: Tier, features: Features) -> Result<(), TierError> {
    if !tier.is_among(features) {
        return Err(TierError::Unavailable { tier });
    }
    let position = Tier::ALL.iter().position(|one| *one == tier);
    let position = position.and_then(|position| u8::try_from(position).ok());
    FORCED.store(position.unwrap_or(UNFORCED), Ordering::Relaxed);
    Ok(())
}

/// Why a tier is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TierError {
    /// The processor lacks the instructions.
    #[error(
        "this processor has no {tier} instructions: leave the choice open, or name another tier"
    )]
    Unavailable {
        /// The tier that was asked for.
        tier: Tier,
    },
    /// There is no tier of that name.
    #[error("a tier is portable, aes_ni, vaes_256 or vaes_512")]
    Unknown,
}

impl TierError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "mask_tier_unavailable",
            Self::Unknown => "mask_tier_unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for tier in Tier::ALL {
            assert_eq!(tier.to_string().parse(), Ok(tier));
        }
        let error = "avx1024".parse::<Tier>().unwrap_err();
        assert_eq!(error.code(), "mask_tier_unknown");
    }

    #[test]
    fn each_tier_needs_all_its_instructions() {
        let vaes = Features {
            aes: true,
            ssse3: true,
            vaes: true,
            avx2: true,
            avx512bw: false,
        };
        let among = |features| Tier::ALL.map(|tier| tier.is_among(features));
        assert_eq!(among(Features::default()), [true, false, false, false]);
        assert_eq!(among(vaes), [true, true, true, false]);
        assert_eq!(
            among(Features {
                avx2: false,
                avx512bw: true,
                ..vaes
            }),
            [true, true, false, false]
        );
        assert_eq!(
            among(Features {
                avx512bw: true,
                ..vaes
            }),
            [true; 4]
        );
    }

    // One test, since the choice is one for the process; other tests meanwhile get the same bits from any tier.
    #[test]
    fn a_forced_tier_is_used_and_one_that_is_missing_is_refused_and_changes_nothing() {
        assert_eq!(Tier::available().next(), Some(Tier::Portable));
        assert_eq!(Some(Tier::current()), Tier::available().next_back());
        for tier in Tier::available() {
            force_tier(tier).unwrap();
            assert_eq!(Tier::current(), tier);
        }
        let before = Tier::current();
        for tier in [Tier::AesNi, Tier::Vaes256, Tier::Vaes512] {
            let error = force_among(tier, Features::default()).unwrap_err();
            assert_eq!(error.code(), "mask_tier_unavailable");
            assert_eq!(error, TierError::Unavailable { tier });
        }
        assert_eq!(Tier::current(), before);
    }
}
