//! How well the demo's jobs do: the median over twenty seeds of the noise, by the arithmetic of a round without its masks
//! (which cancel). `scripts/demo_seeds.sh` prints the figures.

use super::compare::RECIPE;
use super::jobs::{BREAST_CANCER, DemoJob, HEART};
use super::site::{HELD_OUT_FILE, Site, TRAIN_FILE};
use super::{clinics::clinics, hospitals};
use consort_contract::Thresholds;
use consort_model::{
    InitialSeed, ModelSpec, Momentum, OptimizerState, Parameters, ServerOptimizer, StepRule,
};
use consort_participant::data::{DataSet, load};
use consort_privacy::{
    ClipNorm, Delta, DiscreteGaussian, Epsilon, GridChoice, NoisePlan, NoiseSource, PrivacyTarget,
    RecordCap, Relation, Steps, UpdateShape,
};
use consort_training::{
    Batch, Clipping, LossWeight, clipped_sum, evaluate, reference, sum_elements,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const SEEDS: u64 = 20;

/// Everything of a job that does not change from run to run.
struct Job<'a> {
    demo: &'a DemoJob,
    model: ModelSpec,
    plan: NoisePlan,
    train: Vec<DataSet>,
    held_out: Vec<DataSet>,
}

impl<'a> Job<'a> {
    /// Writes and reads the files of the sites as the demo does, and plans the noise as the members do.
    fn new(demo: &'a DemoJob, sites: &[Site], thresholds: &Thresholds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let schema = demo.schema();
        let read = |site: &Site, file: &str| {
            let path = folder.path().join(&site.name).join(file);
            load(&path, &schema, demo.max_records).unwrap()
        };
        for site in sites {
            site.write(&folder.path().join(&site.name)).unwrap();
        }
        let model = demo.model();
        Self {
            plan: plan(demo, &model, thresholds),
            train: sites.iter().map(|site| read(site, TRAIN_FILE)).collect(),
            held_out: sites.iter().map(|site| read(site, HELD_OUT_FILE)).collect(),
            demo,
            model,
        }
    }

    /// Parameters after the job's rounds; without a generator no noise is added.
    fn train(&self, mut noise: Option<ChaCha20Rng>) -> Parameters {
        let demo = self.demo;
        let grid = self.plan.grid();
        let bits = grid.bits().bits();
        let rule = StepRule::new(
            demo.learning_rate,
            ServerOptimizer::Momentum(Momentum::new(demo.momentum).unwrap()),
            demo.clip_norm,
            bits,
            demo.divisor,
        );
        let rule = rule.unwrap();
        let clipping = Clipping::new(grid, LossWeight::new(demo.loss_weight).unwrap());
        let sampler = DiscreteGaussian::new(self.plan.member_variance());
        let start = Parameters::initial(&self.model, &InitialSeed([0; 32]));
        let mut state = OptimizerState::initial(start);
        for _ in 0..demo.rounds {
            let mut total = vec![0_i64; sum_elements(&self.model)];
            for site in &self.train {
                let cap = self.plan.record_cap();
                let batch = batch(site);
                let clipped = clipped_sum(&self.model, state.parameters(), &batch, &clipping, cap);
                let mut values = clipped.unwrap().sum.dangerous_into_integers();
                if let Some(rng) = &mut noise {
                    (values.iter_mut()).for_each(|value| *value += sampler.sample(rng).unwrap());
                }
                (total.iter_mut().zip(values)).for_each(|(total, value)| *total += value);
            }
            let (_loss, gradient) = total.split_last().unwrap();
            state = state.step(&rule, gradient).unwrap();
        }
        state.parameters().clone()
    }

    /// Parameters of plain training on the records of all sites.
    fn pooled(&self) -> Parameters {
        let all = |part: fn(&DataSet) -> &[f32]| -> Vec<f32> {
            self.train.iter().flat_map(part).copied().collect()
        };
        let (features, labels) = (all(DataSet::features), all(DataSet::labels));
        let batch = Batch::new(&features, &labels, self.model.inputs()).unwrap();
        let start = Parameters::initial(&self.model, &InitialSeed([0; 32]));
        reference::train(&self.model, &start, &batch, &RECIPE).unwrap()
    }

    /// Correct answers and records of each site's held-out part.
    fn hits(&self, parameters: &Parameters) -> Vec<(f64, f64)> {
        let evaluate = |site| evaluate(&self.model, parameters, &batch(site)).unwrap();
        let counts = self.held_out.iter().map(evaluate);
        counts
            .map(|counts| (counts.correct as f64, counts.records as f64))
            .collect()
    }
}

fn plan(demo: &DemoJob, model: &ModelSpec, thresholds: &Thresholds) -> NoisePlan {
    let target = PrivacyTarget {
        epsilon: Epsilon::new(demo.epsilon).unwrap(),
        delta: Delta::new(demo.delta).unwrap(),
        rounds: Steps::new(demo.rounds).unwrap(),
        relation: Relation::AddRemove,
        members: thresholds.cohort(),
        n_min: thresholds.minimum(),
        c_noise: demo.colluding_noise,
        source: NoiseSource::Cohort,
        batches: None,
    };
    let shape = UpdateShape {
        elements: sum_elements(model) as u64,
        record_cap: RecordCap::new(u32::try_from(demo.max_records).unwrap()).unwrap(),
        clip: ClipNorm::new(demo.clip_norm).unwrap(),
        grid: GridChoice::Coarsest,
    };
    NoisePlan::new(target, shape).unwrap()
}

fn batch(data: &DataSet) -> Batch<'_> {
    let inputs = u32::try_from(data.inputs()).unwrap();
    Batch::new(data.features(), data.labels(), inputs).unwrap()
}

/// Mean over the sites of each one's accuracy: FLamby's metric, and what the demo reports.
fn average_accuracy(hits: &[(f64, f64)]) -> f64 {
    let each = hits.iter().map(|(correct, records)| correct / records);
    each.sum::<f64>() / hits.len() as f64
}

/// The accuracies of one job.
struct Figures {
    /// Median over the seeds of the noise.
    median: f64,
    /// Of plain training on all records pooled, as the demo compares with.
    pooled: f64,
}

fn figures(sites: &[Site], demo: &DemoJob) -> Figures {
    let thresholds = Thresholds::new(u32::try_from(sites.len()).unwrap(), None, None).unwrap();
    let job = Job::new(demo, sites, &thresholds);
    let accuracy = |parameters: &Parameters| average_accuracy(&job.hits(parameters));
    let mut runs: Vec<f64> = (0..SEEDS)
        .map(|seed| accuracy(&job.train(Some(ChaCha20Rng::seed_from_u64(seed)))))
        .collect();
    runs.sort_by(f64::total_cmp);
    let middle = runs.len() / 2;
    let median = (runs[middle - 1] + runs[middle]) / 2.0;
    let (plain, pooled) = (accuracy(&job.train(None)), accuracy(&job.pooled()));
    println!(
        "{}, {} sites, n_min {}: median {median:.4} of {SEEDS} seeds ({:.4} to {:.4}), zero noise {plain:.4}, pooled {pooled:.4}, epsilon by coalition {:.3?}",
        demo.name,
        sites.len(),
        thresholds.minimum(),
        runs[0],
        runs[runs.len() - 1],
        job.plan
            .epsilon_table()
            .iter()
            .map(|epsilon| epsilon.value())
            .collect::<Vec<_>>(),
    );
    Figures { median, pooled }
}

#[test]
fn five_clinics_lose_less_than_a_point_and_a_half_to_privacy() {
    let Figures { median, pooled } = figures(&clinics(5).unwrap(), &BREAST_CANCER);
    assert!(median >= 0.955, "{median}");
    assert!(median >= pooled - 0.015, "{median} against {pooled}");
}

#[test]
fn any_number_of_clinics_trains_a_useful_model() {
    for count in [3, 4, 10, 50] {
        let Figures { median, .. } = figures(&clinics(count).unwrap(), &BREAST_CANCER);
        assert!(median >= 0.93, "{count} clinics: {median}");
    }
}

#[test]
fn four_hospitals_reach_the_published_accuracy_and_more() {
    let Some(folder) = hospitals::tests::folder() else {
        return;
    };
    let sites = hospitals::hospitals(&folder).unwrap();
    let Figures { median, .. } = figures(&sites, &HEART);
    assert!(median >= 0.82, "{median}");
}
