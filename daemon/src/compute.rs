//! What masks are made with: the processor's instructions, and how many threads.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use consort_aggregation::{Tier, TierError, force_tier};
use serde::{Deserialize, Serialize};

/// The `[node.compute]` table of both daemons' configuration. No bit of a result depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComputeConfig {
    /// The instructions that make masks: `auto`, or the name of a tier.
    #[serde(default)]
    pub mask_tier: MaskTier,
    /// Threads that mask an update or take the masks of a sum away; as many as the machine has processors if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<NonZeroUsize>,
}

/// Which instructions make masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MaskTier {
    /// The fastest that this processor has.
    #[default]
    Auto,
    /// These, or the daemon does not start: for comparing tiers and for distrusting one.
    Only(Tier),
}

/// The name of [`MaskTier::Auto`].
const AUTO: &str = "auto";

/// A tier that this machine does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node.compute.mask_tier: {source}; here there are: {available}")]
pub struct ComputeError {
    source: TierError,
    available: String,
}

impl ComputeError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        self.source.code()
    }
}

impl ComputeConfig {
    /// Puts the choice in force for this process, says it in the log, and returns the number of threads.
    ///
    /// # Errors
    /// [`ComputeError`] when this processor does not have the tier; it names those that it has.
    pub fn start(&self) -> Result<NonZeroUsize, ComputeError> {
        match self.mask_tier {
            MaskTier::Auto => {}
            MaskTier::Only(tier) => force_tier(tier).map_err(unavailable)?,
        }
        let processors = || available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let workers = self.workers.unwrap_or_else(processors);
        tracing::info!(mask_tier = %Tier::current(), workers, "masks are made with these");
        Ok(workers)
    }
}

fn unavailable(source: TierError) -> ComputeError {
    let available: Vec<_> = [AUTO]
        .into_iter()
        .chain(Tier::available().map(Tier::name))
        .collect();
    ComputeError {
        source,
        available: available.join(", "),
    }
}

impl TryFrom<String> for MaskTier {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == AUTO {
            return Ok(Self::Auto);
        }
        let tier = name.parse().map(Self::Only);
        tier.map_err(|error: TierError| format!("mask_tier = {name:?}: {error}, or {AUTO}"))
    }
}

impl From<MaskTier> for String {
    fn from(tier: MaskTier) -> Self {
        match tier {
            MaskTier::Auto => AUTO.to_owned(),
            MaskTier::Only(tier) => tier.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ComputeConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_table_is_the_fastest_tier_on_all_processors() {
        let config = read("").unwrap();
        assert_eq!(config, ComputeConfig::default());
        assert_eq!(config.start(), Ok(available_parallelism().unwrap()));
        assert_eq!(read("mask_tier = \"auto\"").unwrap(), config);
    }

    #[test]
    fn every_tier_is_read_by_its_name_and_another_name_or_no_thread_is_refused() {
        for tier in Tier::ALL {
            let config = read(&format!("mask_tier = \"{tier}\"\nworkers = 3")).unwrap();
            assert_eq!(config.mask_tier, MaskTier::Only(tier));
            assert_eq!(config.workers, NonZeroUsize::new(3));
            assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
        }
        let refused = read("mask_tier = \"fast\"").unwrap_err();
        assert!(
            refused.contains("vaes_512") && refused.contains("auto"),
            "{refused}"
        );
        assert!(read("workers = 0").is_err());
        assert!(read("threads = 2").unwrap_err().contains("threads"));
    }

    // The choice is the process's: one test alone forces a tier.
    #[test]
    fn a_tier_that_the_processor_lacks_is_refused_with_those_it_has() {
        for tier in Tier::ALL {
            let config = ComputeConfig {
                mask_tier: MaskTier::Only(tier),
                workers: NonZeroUsize::new(2),
            };
            if tier.is_available() {
                assert_eq!(config.start(), Ok(NonZeroUsize::new(2).unwrap()));
                assert_eq!(Tier::current(), tier);
            } else {
                let error = config.start().unwrap_err();
                assert_eq!(error.code(), "mask_tier_unavailable");
            }
        }
        let tier = Tier::Vaes512;
        let error = unavailable(TierError::Unavailable { tier }).to_string();
        assert!(error.contains("here there are: auto, portable"), "{error}");
    }
}
