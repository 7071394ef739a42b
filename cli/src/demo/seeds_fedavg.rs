//! How well the demo's `fedavg` job does: the median over twenty seeds of the noise, by the arithmetic of a round without its masks
//! (which cancel) and its rounding (a step is 6e-5 of an update's norm).

use super::clinics::clinics;
use super::documents::job_document;
use super::jobs::{BREAST_CANCER_FEDAVG, DemoJob};
use super::options::Plan as DemoPlan;
use super::site::{HELD_OUT_FILE, Site, TRAIN_FILE};
use consort_contract::{Algorithm, FedAvg, Job, Plan, ServerStep};
use consort_model::{AverageRule, Momentum, OptimizerState, Parameters, ServerOptimizer};
use consort_participant::data::{DataSet, load};
use consort_privacy::{DiscreteGaussian, LocalModel};
use consort_training::{Batch, Clipping, LossWeight, clipped_sum, evaluate};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const SEEDS: u64 = 20;

struct Run {
    job: Job,
    plan: Plan,
    terms: FedAvg,
    train: Vec<DataSet>,
    held_out: Vec<DataSet>,
}

impl Run {
    fn new(demo: &DemoJob, sites: Vec<Site>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let read = |site: &Site, file: &str| {
            let path = folder.path().join(&site.name).join(file);
            load(&path, &demo.schema(), demo.max_records).unwrap()
        };
        for site in &sites {
            site.write(&folder.path().join(&site.name)).unwrap();
        }
        let (train, held_out) = (
            sites.iter().map(|site| read(site, TRAIN_FILE)).collect(),
            sites.iter().map(|site| read(site, HELD_OUT_FILE)).collect(),
        );
        let plan = DemoPlan {
            job: *demo,
            sites,
            drops: Vec::new(),
            crash_coordinator: None,
            sealed_data: false,
        };
        let job = Job::new(job_document(demo, &plan).unwrap()).unwrap();
        let Algorithm::FedAvg(terms) = *job.algorithm() else {
            panic!("the job is one of fedavg")
        };
        Self {
            plan: Plan::derive(&job).unwrap(),
            job,
            terms,
            train,
            held_out,
        }
    }

    /// One site's update, clipped.
    fn update(&self, site: &DataSet, global: &Parameters, rng: &mut ChaCha20Rng) -> Vec<f32> {
        let noise = self.plan.noise();
        let ServerStep::Average(averaging) = self.plan.step() else {
            panic!("the plan is one of fedavg")
        };
        let clipping = Clipping::new(
            noise.grid(),
            LossWeight::new(self.terms.loss_weight).unwrap(),
        );
        let sampler = DiscreteGaussian::new(noise.member_variance());
        let elements = usize::try_from(noise.elements()).unwrap();
        let mut local = LocalModel::at(global.as_slice(), averaging.local_rule(1), noise).unwrap();
        for _ in 0..self.terms.local_steps {
            let drawn = sampler.sample_vector(elements, rng).unwrap();
            let here = Parameters::new(self.job.model(), local.values().to_vec()).unwrap();
            let (model, cap) = (self.job.model(), noise.record_cap());
            let summed = clipped_sum(model, &here, &self.batch(site), &clipping, cap).unwrap();
            local.step(summed.sum, drawn).unwrap();
        }
        let pairs = local.values().iter().zip(global.as_slice());
        let moved: Vec<f32> = pairs.map(|(local, global)| local - global).collect();
        let square = |v: &f32| f64::from(*v).powi(2);
        let length = moved.iter().map(square).sum::<f64>().sqrt();
        let factor = (self.terms.update_clip / length).min(1.0);
        moved
            .iter()
            .map(|v| narrow(f64::from(*v) * factor))
            .collect()
    }

    /// Mean over the sites of each one's accuracy after the job's rounds.
    fn accuracy(&self, seed: u64) -> f64 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let momentum = Momentum::new(narrow(self.terms.momentum)).unwrap();
        let momentum = ServerOptimizer::Momentum(momentum);
        let rule = AverageRule::new(narrow(self.terms.learning_rate), momentum).unwrap();
        let start = Parameters::initial(self.job.model(), &self.job.initial_seed());
        let mut state = OptimizerState::initial(start);
        for _ in 0..self.terms.rounds {
            let mut average = vec![0.0; state.parameters().as_slice().len()];
            for site in &self.train {
                let update = self.update(site, state.parameters(), &mut rng);
                for (average, value) in average.iter_mut().zip(update) {
                    *average += value / self.train.len() as f32;
                }
            }
            let one = std::num::NonZeroUsize::MIN;
            state = state.step_by_average(&rule, average, one).unwrap();
        }
        let one = |site| {
            let counts = evaluate(self.job.model(), state.parameters(), &self.batch(site));
            counts.unwrap().accuracy().unwrap()
        };
        self.held_out.iter().map(one).sum::<f64>() / self.held_out.len() as f64
    }

    fn batch<'a>(&self, data: &'a DataSet) -> Batch<'a> {
        let inputs = self.job.model().inputs();
        Batch::new(data.features(), data.labels(), inputs).unwrap()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the model has the precision of f32"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// The median, the least and the greatest accuracy over the seeds.
fn figures(count: usize, demo: &DemoJob) -> (f64, f64, f64) {
    let run = Run::new(demo, clinics(count).unwrap());
    let mut runs: Vec<f64> = (0..SEEDS).map(|seed| run.accuracy(seed)).collect();
    runs.sort_by(f64::total_cmp);
    let middle = runs.len() / 2;
    let median = (runs[middle - 1] + runs[middle]) / 2.0;
    let (least, greatest) = (runs[0], runs[runs.len() - 1]);
    println!(
        "{} by fedavg, {count} sites, {} rounds of {} steps: median {median:.4} of {SEEDS} seeds ({least:.4} to {greatest:.4}), sigma {:.4}, epsilon {:.4}",
        demo.name,
        demo.rounds,
        run.terms.local_steps,
        run.plan.noise().noise_multiplier().value(),
        run.plan.noise().spend().enforced().value(),
    );
    (median, least, greatest)
}

#[test]
fn five_clinics_that_average_noised_models_train_a_useful_one() {
    for rounds in [6, 10] {
        let mut demo = BREAST_CANCER_FEDAVG;
        demo.rounds = rounds;
        let (median, least, _) = figures(5, &demo);
        assert!(median >= 0.95, "{median}");
        assert!(least >= 0.92, "{least}");
    }
}

#[test]
fn noise_at_each_site_alone_costs_more_the_more_sites_share_the_records() {
    let (few, ..) = figures(5, &BREAST_CANCER_FEDAVG);
    let (many, ..) = figures(50, &BREAST_CANCER_FEDAVG);
    assert!(many < few, "{many} {few}");
}
