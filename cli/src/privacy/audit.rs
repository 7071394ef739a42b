//! `consort privacy audit`: an epsilon from below, for the mechanism as it is built. A job runs in this process, without data and without
//! the protocol around it: the plan of the noise, the grid, the sums, the sampler and the parameters' step are those of jobs among organisations.

use clap::Args;
use consort_privacy::{
    Canaries, CanaryAudit, ClipNorm, Delta, DiscreteGaussian, Epsilon, GridChoice, NoisePlan,
    NoiseSource, PrivacyTarget, RecordCap, RecordSum, Relation, Steps, UpdateShape,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, RngCore, SeedableRng};
use serde_json::{Value, json};

use super::unusable;
use crate::failure::Failure;

/// A promise to be audited.
#[derive(Args)]
pub(crate) struct Options {
    /// Epsilon that is claimed of all rounds together: above 0
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: f64,
    /// Delta that is claimed: at least 1e-12, below 1
    #[arg(
        long,
        value_name = "D",
        default_value_t = 1e-5,
        allow_negative_numbers = true
    )]
    delta: f64,
    /// Rounds of the job, each of a full batch
    #[arg(long, value_name = "T", default_value_t = 10)]
    rounds: u32,
    /// Members, all of whom stay
    #[arg(long, value_name = "N", default_value_t = 4)]
    members: u32,
    /// Canaries, each planted or not by a coin
    #[arg(long, value_name = "M", default_value_t = 2000)]
    canaries: u32,
    /// Probability of not wrongly refuting a promise that is kept
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.95,
        allow_negative_numbers = true
    )]
    confidence: f64,
    /// Share of the planned noise that is added: below 1 the promise is broken, which the audit is to find
    #[arg(
        long,
        value_name = "S",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    dangerous_noise_share: f64,
    /// Seed of coins and noise, to repeat an audit
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Four parameters for each canary, so that they are far apart, and at least so many.
const LEAST_PARAMETERS: u32 = 64;

/// The audit guesses from the seat of a member, who subtracts its own noise: what is left is what the promise counts.
const COLLUDING: u32 = 1;

impl Options {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let (answer, text) = self.answer()?;
        if self.json {
            println!("{answer}");
        } else {
            println!("{text}");
        }
        Ok(())
    }

    /// The same answer for programs and for people.
    pub(super) fn answer(&self) -> Result<(Value, String), Failure> {
        if !(0.0..=1.0).contains(&self.dangerous_noise_share) {
            let what = "--dangerous-noise-share must be 0 to 1";
            return Err(Failure::usage("noise_share", what));
        }
        let refused = |error: consort_privacy::CanaryError| Failure::usage(error.code(), error);
        let parameters = usize::try_from(self.canaries.saturating_mul(4).max(LEAST_PARAMETERS));
        let parameters = parameters.map_err(|error| Failure::usage("canary_count", error))?;
        let seed = self.seed.unwrap_or_else(|| OsRng.next_u64());
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let canaries = Canaries::draw(self.canaries, parameters, &mut rng).map_err(refused)?;
        let plan = self.plan(parameters)?;
        let before = vec![0.0; parameters];
        let after = self.trained(&plan, &canaries, parameters, &mut rng)?;
        let audit = canaries
            .audit(&before, &after, plan.target().delta, self.confidence)
            .map_err(refused)?;
        Ok((self.told(&audit, seed), self.said(&audit, seed)))
    }

    fn plan(&self, parameters: usize) -> Result<NoisePlan, Failure> {
        let target = PrivacyTarget {
            epsilon: Epsilon::new(self.epsilon).map_err(unusable)?,
            delta: Delta::new(self.delta).map_err(unusable)?,
            rounds: Steps::new(self.rounds).map_err(unusable)?,
            relation: Relation::AddRemove,
            members: self.members,
            n_min: self.members,
            c_noise: COLLUDING,
            source: NoiseSource::Cohort,
            batches: None,
        };
        let cap = RecordCap::new(self.canaries.max(1));
        let shape = UpdateShape {
            elements: parameters as u64,
            record_cap: cap.map_err(|error| Failure::usage(error.code(), error))?,
            clip: ClipNorm::new(1.0).map_err(|error| Failure::failed(error.code(), error))?,
            grid: GridChoice::Coarsest,
        };
        NoisePlan::new(target, shape).map_err(|error| Failure::usage(error.code(), error))
    }

    /// The parameters after the last round, from zero at the first, with a learning rate of 1.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "sums below 2^53 become parameters"
    )]
    fn trained(
        &self,
        plan: &NoisePlan,
        canaries: &Canaries,
        parameters: usize,
        rng: &mut ChaCha20Rng,
    ) -> Result<Vec<f32>, Failure> {
        let sampler = DiscreteGaussian::new(plan.member_variance());
        let mut model = vec![0.0_f64; parameters];
        for _ in 0..self.rounds {
            let mut sum = RecordSum::new(plan.grid(), plan.record_cap(), parameters);
            (canaries.plant(&mut sum)).map_err(|error| Failure::failed(error.code(), error))?;
            let summed = sum.dangerous_into_integers();
            for (parameter, value) in model.iter_mut().zip(summed) {
                let mut noise = 0_i64;
                for _ in COLLUDING..self.members {
                    let drawn = sampler.sample(rng);
                    noise += drawn.map_err(|error| Failure::failed(error.code(), error))?;
                }
                let noised = value as f64 + self.dangerous_noise_share * noise as f64;
                *parameter -= noised * plan.grid().unit();
            }
        }
        Ok(model
            .into_iter()
            .map(|parameter| parameter as f32)
            .collect())
    }

    fn is_refuted(&self, audit: &CanaryAudit) -> bool {
        audit.epsilon > self.epsilon
    }

    fn told(&self, audit: &CanaryAudit, seed: u64) -> Value {
        json!({
            "epsilon_claimed": self.epsilon,
            "delta": self.delta,
            "epsilon_lower_bound": audit.epsilon,
            "confidence": audit.confidence,
            "canaries": audit.canaries,
            "guesses": audit.guesses,
            "correct": audit.correct,
            "refuted": self.is_refuted(audit),
            "dangerous_noise_share": self.dangerous_noise_share,
            "rounds": self.rounds,
            "members": self.members,
            "seed": seed,
        })
    }

    fn said(&self, audit: &CanaryAudit, seed: u64) -> String {
        let verdict = if self.is_refuted(audit) {
            "REFUTED: the promise is not kept"
        } else {
            "not refuted (which is no proof that the promise is kept)"
        };
        let noise = if self.dangerous_noise_share < 1.0 {
            format!(" with {} of its noise", self.dangerous_noise_share)
        } else {
            String::new()
        };
        format!(
            "{} rounds of {} members{noise}: {} of {} guesses about {} canaries are right\nepsilon is at least {:.4} at delta {:e} with confidence {}; claimed is {}: {verdict}\nseed {seed}",
            self.rounds,
            self.members,
            audit.correct,
            audit.guesses,
            audit.canaries,
            audit.epsilon,
            self.delta,
            audit.confidence,
            self.epsilon
        )
    }
}
