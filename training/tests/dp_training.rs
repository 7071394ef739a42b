//! Four sites train one logistic model on paid and noised full-batch sums: a round as it is, but for its masks.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use consort_model::{
    InitialSeed, Layer, Loss, ModelSpec, Momentum, OptimizerState, Parameters, ServerOptimizer,
    StepRule,
};
use consort_privacy::{
    Account, Cap, ClipNorm, DebitKey, Delta, DiscreteGaussian, Epsilon, GridChoice, Ledger,
    NoisePlan, NoiseSource, PrivacyTarget, PrivateUpdate, RecordCap, RecordSum, Relation, Steps,
    UpdateShape,
};
use consort_training::{Batch, Clipping, LossWeight, clipped_sum, evaluate, sum_elements};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

const SITES: u8 = 4;
const RECORDS_PER_SITE: u16 = 300;
const INPUTS: usize = 4;
const ROUNDS: u32 = 20;
const CLIP: f32 = 0.5;
const LOSS_WEIGHT: f64 = 0.2;
/// The divisor of the job: the number of records that was expected.
const DIVISOR: f32 = 1200.0;

/// One site's records and its ledger, capped at what the job costs.
struct Site {
    features: Vec<f32>,
    labels: Vec<f32>,
    ledger: Ledger,
}

impl Site {
    /// Features uniform on [−1, 1); positive where x·(1, −2, 1, 0.5) + 0.2 + noise uniform on [−0.3, 0.3) is above 0.
    fn generate(rng: &mut ChaCha20Rng, records: u16) -> Self {
        let features: Vec<f32> = (0..usize::from(records) * INPUTS)
            .map(|_| uniform(rng))
            .collect();
        let label = |record: &[f32]| {
            let truth = record[0] - 2.0 * record[1] + record[2] + 0.5 * record[3] + 0.2;
            f32::from(u8::from(truth + 0.3 * uniform(rng) > 0.0))
        };
        let labels = features.chunks(INPUTS).map(label).collect();
        let target = target();
        let cap = Cap {
            epsilon: target.epsilon,
            delta: target.delta,
        };
        Self {
            features,
            labels,
            ledger: Ledger::new(Account::new("synthetic", "test").unwrap(), cap),
        }
    }

    fn batch(&self) -> Batch<'_> {
        Batch::new(&self.features, &self.labels, 4).unwrap()
    }

    fn sum(&self, parameters: &Parameters) -> RecordSum {
        let batch = self.batch();
        clipped_sum(&logistic(), parameters, &batch, &clipping(), cap())
            .unwrap()
            .sum
    }

    /// What the site contributes to a round: its noise, its sum, its debit, in this order.
    fn release(
        &mut self,
        parameters: &Parameters,
        round: u64,
        rng: &mut ChaCha20Rng,
    ) -> PrivateUpdate {
        let plan = plan();
        let sampler = DiscreteGaussian::new(plan.member_variance());
        let noise = sampler
            .sample_vector(sum_elements(&logistic()), rng)
            .unwrap();
        let sum = self.sum(parameters);
        let key = DebitKey::new("job", round, 0).unwrap();
        let authorization = self.ledger.authorize(key, &plan.round_mechanism()).unwrap();
        let debit = self.ledger.apply(authorization).unwrap();
        PrivateUpdate::release(sum, noise, &plan, debit).unwrap()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "24 random bits are exact in f32"
)]
fn uniform(rng: &mut ChaCha20Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0
}

fn logistic() -> ModelSpec {
    let layers = vec![Layer::Dense { outputs: 1 }];
    ModelSpec::new(4, layers, Loss::BinaryCrossEntropy).unwrap()
}

fn target() -> PrivacyTarget {
    PrivacyTarget {
        epsilon: Epsilon::new(1.0).unwrap(),
        delta: Delta::new(1e-5).unwrap(),
        rounds: Steps::new(ROUNDS).unwrap(),
        relation: Relation::AddRemove,
        members: SITES.into(),
        n_min: SITES.into(),
        c_noise: 1,
        source: NoiseSource::Cohort,
        batches: None,
    }
}

fn plan() -> NoisePlan {
    let shape = UpdateShape {
        elements: sum_elements(&logistic()) as u64,
        record_cap: cap(),
        clip: ClipNorm::new(CLIP).unwrap(),
        grid: GridChoice::Coarsest,
    };
    NoisePlan::new(target(), shape).unwrap()
}

fn cap() -> RecordCap {
    RecordCap::new(1000).unwrap()
}

fn clipping() -> Clipping {
    Clipping::new(plan().grid(), LossWeight::new(LOSS_WEIGHT).unwrap())
}

/// Trains from zero, with what each site gives to a round, and returns the parameters and the mean loss that each
/// round reported.
fn train(
    sites: &mut [Site],
    mut contribute: impl FnMut(&mut Site, &Parameters, u64) -> Vec<i64>,
) -> (Parameters, Vec<f64>) {
    let spec = logistic();
    let momentum = ServerOptimizer::Momentum(Momentum::new(0.5).unwrap());
    let step = StepRule::new(1.0, momentum, CLIP, plan().grid().bits().bits(), DIVISOR).unwrap();
    let start = Parameters::initial(&spec, &InitialSeed([0; 32]));
    let mut state = OptimizerState::initial(start);
    let mut losses = Vec::new();
    for round in 0..ROUNDS.into() {
        let mut total = vec![0_i64; sum_elements(&spec)];
        for site in &mut *sites {
            let values = contribute(site, state.parameters(), round);
            total
                .iter_mut()
                .zip(values)
                .for_each(|(total, value)| *total += value);
        }
        let (loss, gradient) = total.split_last().unwrap();
        losses
            .push(f64::from(step.mean(*loss)) * spec.loss_cap() / (LOSS_WEIGHT * f64::from(CLIP)));
        state = state.step(&step, gradient).unwrap();
    }
    (state.parameters().clone(), losses)
}

fn sites(seed: u64) -> (Vec<Site>, Site) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let sites = (0..SITES)
        .map(|_| Site::generate(&mut rng, RECORDS_PER_SITE))
        .collect();
    (sites, Site::generate(&mut rng, 1000))
}

fn accuracy(parameters: &Parameters, site: &Site) -> f64 {
    let evaluation = evaluate(&logistic(), parameters, &site.batch()).unwrap();
    evaluation.accuracy().unwrap()
}

/// The sum of clipped gradients of a logistic model, written out in double precision.
fn plain_sum(site: &Site, parameters: &[f32]) -> Vec<f64> {
    let bound = f64::from(CLIP) * (1.0 - LOSS_WEIGHT * LOSS_WEIGHT).sqrt();
    let mut sum = vec![0.0; INPUTS + 1];
    for (record, label) in site.features.chunks(INPUTS).zip(&site.labels) {
        let extended = || record.iter().chain(&[1.0]).copied().map(f64::from);
        let logit: f64 = extended()
            .zip(parameters)
            .map(|(x, w)| x * f64::from(*w))
            .sum();
        let delta = 1.0 / (1.0 + (-logit).exp()) - f64::from(*label);
        let norm = delta.abs() * extended().map(|x| x * x).sum::<f64>().sqrt();
        let scale = (bound / norm).min(1.0);
        for (sum, x) in sum.iter_mut().zip(extended()) {
            *sum += delta * x * scale;
        }
    }
    sum
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "sums of a few hundred records")]
fn a_sum_without_noise_is_the_plain_sum_of_clipped_gradients() {
    let (sites, _) = sites(1);
    let unit = plan().grid().unit();
    for values in [vec![0.0; 5], vec![1.5, -2.5, 0.5, 0.25, -1.0]] {
        let parameters = Parameters::new(&logistic(), values.clone()).unwrap();
        for site in &sites {
            let integers = site.sum(&parameters).dangerous_into_integers();
            for (expected, integer) in plain_sum(site, &values).iter().zip(integers) {
                // Truncation takes less than one unit per record; f32 gradients are off by some 1e-7 each.
                let slack = f64::from(RECORDS_PER_SITE) * (unit + 5e-7);
                assert!((expected - integer as f64 * unit).abs() < slack);
            }
        }
    }
}

#[test]
fn training_at_epsilon_one_learns_almost_what_training_without_noise_does() {
    let (mut sites, held_out) = sites(2);
    let (without, losses) = train(&mut sites, |site, parameters, _| {
        site.sum(parameters).dangerous_into_integers()
    });
    let plain = accuracy(&without, &held_out);
    assert!(plain > 0.93, "{plain} without noise");
    assert!(
        losses.is_sorted_by(|before, after| before > after),
        "{losses:?}"
    );

    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let (with, _) = train(&mut sites, |site, parameters, round| {
        site.release(parameters, round, &mut rng).into_integers()
    });
    let noised = accuracy(&with, &held_out);
    // Thirty other seeds of the noise gave 0.949 to 0.963.
    assert!(noised > 0.93, "{noised} with noise");
    assert_ne!(with, without);

    // All twenty rounds fit the cap of epsilon 1, and nothing after them does.
    let key = DebitKey::new("job", ROUNDS.into(), 0).unwrap();
    let refused = sites[0].ledger.authorize(key, &plan().round_mechanism());
    assert!(refused.is_err());
}

#[test]
fn a_reported_loss_is_off_by_its_noise_and_no_more() {
    let (mut sites, _) = sites(4);
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let (_, losses) = train(&mut sites, |site, parameters, round| {
        site.release(parameters, round, &mut rng).into_integers()
    });
    // All parameters start at zero, so the first true loss is ln 2. Its noise has the standard deviation
    // σ·√(4/3) clip norms, and a nat is worth 0.2/2 clip norms per record: five of them, shared by 1200 records.
    let sigma = plan().noise_multiplier().value() * (4.0_f64 / 3.0).sqrt();
    let slack = 5.0 * sigma / (LOSS_WEIGHT / 2.0) / f64::from(DIVISOR);
    assert!((losses[0] - std::f64::consts::LN_2).abs() < slack);
}
