//! The simulation's options, checked before anything is computed.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use clap::Args;
use consort_aggregation::{MemberIndex, VectorSchema, width_for};
use consort_contract::{MAX_COMPLETE_COHORT, Thresholds};
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, RngCore, SeedableRng};

use crate::failure::Failure;

/// `consort simulate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Members of the cohort
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) members: u32,
    /// Elements of one update, such as 250000 or 1e6
    #[arg(long, value_name = "D", default_value = "1e5", value_parser = count)]
    pub(crate) params: u64,
    /// Share of the members that die after they shared their keys
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub(crate) drop: f64,
    /// Members that may collude with the coordinator [default: a third of them; a twentieth above 256 members]
    #[arg(long, value_name = "C")]
    pub(crate) colluders: Option<u32>,
    /// Bits of one member's value, sign included
    #[arg(long, value_name = "BITS", default_value_t = 16)]
    pub(crate) bits: u8,
    /// Everything random follows from this number [default: a random one, which is printed]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// A whole number, also as `1e6`.
fn count(text: &str) -> Result<u64, String> {
    let parsed = match text.split_once(['e', 'E']) {
        None => text.replace('_', "").parse().ok(),
        Some((digits, zeros)) => zeros
            .parse()
            .ok()
            .and_then(|zeros| 10_u64.checked_pow(zeros))
            .zip(digits.parse::<u64>().ok())
            .and_then(|(factor, digits)| digits.checked_mul(factor)),
    };
    parsed.ok_or_else(|| "a whole number is wanted, such as 250000 or 1e6".to_owned())
}

/// What is going to be simulated.
pub(crate) struct Plan {
    pub(crate) members: u32,
    pub(crate) thresholds: Thresholds,
    pub(crate) schema: VectorSchema,
    /// Q: the largest absolute value of one member's element.
    pub(crate) quantised: u64,
    /// Who dies after sharing keys.
    pub(crate) lost: BTreeSet<MemberIndex>,
    pub(crate) seed: u64,
    pub(crate) workers: NonZeroUsize,
}

impl Options {
    /// Checks the options.
    ///
    /// # Errors
    /// A [`Failure`] that names the option and what it may be.
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        if !(0.0..1.0).contains(&self.drop) {
            return Err(Failure::usage(
                "simulate_drop",
                "--drop is a share of the members: at least 0 and below 1",
            ));
        }
        if !(2..=32).contains(&self.bits) {
            return Err(Failure::usage("simulate_bits", "--bits is 2 to 32"));
        }
        let seed = self.seed.unwrap_or_else(|| OsRng.next_u64());
        let lost = lost(self.members, self.drop, seed);
        let thresholds = self.thresholds(lost.len())?;
        let quantised = (1 << (self.bits - 1)) - 1;
        let schema = width_for(self.members, quantised, 0)
            .and_then(|width| VectorSchema::new(self.params, width))
            .map_err(|error| Failure::usage(error.code(), error))?;
        let workers = self
            .workers
            .unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
        Ok(Plan {
            members: self.members,
            thresholds,
            schema,
            quantised,
            lost,
            seed,
            workers,
        })
    }
}

impl Options {
    /// Above 256 members the graph is made for the colluders and the dropouts; below, everybody is a neighbour.
    fn thresholds(&self, lost: usize) -> Result<Thresholds, Failure> {
        let sparse = self.members > MAX_COMPLETE_COHORT;
        let colluders = self.colluders.or(sparse.then_some(self.members / 20));
        let dropouts = sparse.then(|| {
            u32::try_from(lost)
                .unwrap_or(u32::MAX)
                .max(self.members / 20)
        });
        Thresholds::with_dropouts(self.members, colluders, None, dropouts)
            .map_err(|error| Failure::usage(error.code(), error))
    }
}

/// ⌊share·n⌋ members, chosen by the seed.
fn lost(members: u32, share: f64, seed: u64) -> BTreeSet<MemberIndex> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut order: Vec<(u64, u32)> = (1..=members).map(|i| (rng.next_u64(), i)).collect();
    order.sort_unstable();
    let many = (1..=members)
        .take_while(|&k| f64::from(k) <= share * f64::from(members))
        .count();
    order
        .into_iter()
        .take(many)
        .filter_map(|(_, i)| MemberIndex::new(i))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_may_have_an_exponent() {
        assert_eq!(count("250000"), Ok(250_000));
        assert_eq!(count("1e6"), Ok(1_000_000));
        assert_eq!(count("25E6"), Ok(25_000_000));
        for bad in ["", "e6", "1.5e6", "-1", "1e40", "many"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn as_many_are_lost_as_the_share_says_and_the_seed_chooses_them() {
        assert_eq!(lost(50, 0.1, 1).len(), 5);
        assert_eq!(lost(50, 0.0, 1).len(), 0);
        assert_eq!(lost(50, 0.1, 1), lost(50, 0.1, 1));
        assert_ne!(lost(50, 0.1, 1), lost(50, 0.1, 2));
    }
}
