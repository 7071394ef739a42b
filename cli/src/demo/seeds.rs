//! How well the demo's jobs do: the median over twenty seeds of the noise, by the arithmetic of a round in f64.
//!
//! No masks and no grid (they change the sum by less than 2^-20 of the noise), a Gaussian instead of the discrete one.
//! `scripts/demo_seeds.sh` prints the figures.

use super::jobs::{BREAST_CANCER, DemoJob, HEART};
use super::site::{HELD_OUT_FILE, Site, TRAIN_FILE};
use super::{clinics::clinics, hospitals};
use consort_contract::Thresholds;
use consort_participant::data::{DataSet, load};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

const SEEDS: u64 = 20;

/// Noise multiplier of 20 full-batch rounds at epsilon 1, delta 1e-5: √20 / 0.268051, where 0.268051 solves the exact
/// condition of the Gaussian mechanism (Balle and Wang 2018, Theorem 8).
const SIGMA: f64 = 16.684;

struct Parts {
    train: Vec<DataSet>,
    held_out: Vec<DataSet>,
}

fn parts(sites: &[Site], job: &DemoJob) -> Parts {
    let folder = tempfile::tempdir().unwrap();
    let schema = job.schema();
    let read = |site: &Site, file: &str| {
        load(
            &folder.path().join(&site.name).join(file),
            &schema,
            job.max_records,
        )
        .unwrap()
    };
    for site in sites {
        site.write(&folder.path().join(&site.name)).unwrap();
    }
    Parts {
        train: sites.iter().map(|site| read(site, TRAIN_FILE)).collect(),
        held_out: sites.iter().map(|site| read(site, HELD_OUT_FILE)).collect(),
    }
}

/// Parameters after the job's rounds; `noise` is the standard deviation of the sum, in clip norms.
fn train(sites: &[DataSet], job: &DemoJob, noise: f64, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let inputs = sites[0].inputs();
    let mut parameters = vec![0.0; inputs + 1];
    let mut velocity = vec![0.0; inputs + 1];
    let bound = job.clip_norm * (1.0 - job.loss_weight * job.loss_weight).sqrt();
    for _ in 0..job.rounds {
        let mut sum = vec![0.0; inputs + 1];
        for (record, label) in sites.iter().flat_map(records) {
            let slope = 1.0 / (1.0 + (-logit(&parameters, record)).exp()) - label;
            let norm = (1.0 + record.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>()).sqrt();
            let scaled = slope * (bound / (slope.abs() * norm)).min(1.0);
            for (sum, input) in sum.iter_mut().zip(with_bias(record)) {
                *sum += scaled * input;
            }
        }
        for ((parameter, velocity), sum) in parameters.iter_mut().zip(&mut velocity).zip(sum) {
            let noised = sum + noise * job.clip_norm * normal(&mut rng);
            *velocity = f64::from(job.momentum) * *velocity + noised / f64::from(job.divisor);
            *parameter -= f64::from(job.learning_rate) * *velocity;
        }
    }
    parameters
}

fn records(data: &DataSet) -> impl Iterator<Item = (&[f32], f64)> {
    let rows = data.features().chunks(data.inputs());
    rows.zip(data.labels())
        .map(|(row, label)| (row, f64::from(*label)))
}

fn with_bias(record: &[f32]) -> impl Iterator<Item = f64> {
    record.iter().copied().map(f64::from).chain([1.0])
}

fn logit(parameters: &[f64], record: &[f32]) -> f64 {
    with_bias(record).zip(parameters).map(|(x, w)| x * w).sum()
}

/// Box and Muller; both uniforms have 53 bits and the first is never 0.
fn normal(rng: &mut ChaCha20Rng) -> f64 {
    let mut uniform = || ((rng.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
}

fn hits(data: &DataSet, parameters: &[f64]) -> usize {
    records(data)
        .filter(|(record, label)| (logit(parameters, record) > 0.0) == (*label > 0.5))
        .count()
}

/// Share of all held-out records that are classified correctly.
fn pooled_accuracy(sites: &[DataSet], parameters: &[f64]) -> f64 {
    let correct: usize = sites.iter().map(|site| hits(site, parameters)).sum();
    correct as f64 / sites.iter().map(DataSet::records).sum::<usize>() as f64
}

/// Mean over the sites of each one's accuracy: FLamby's metric.
fn average_accuracy(sites: &[DataSet], parameters: &[f64]) -> f64 {
    let each = |site: &DataSet| hits(site, parameters) as f64 / site.records() as f64;
    sites.iter().map(each).sum::<f64>() / sites.len() as f64
}

/// Median with noise, and the value without.
fn figures(sites: &[Site], job: &DemoJob, accuracy: fn(&[DataSet], &[f64]) -> f64) -> (f64, f64) {
    let thresholds = Thresholds::new(u32::try_from(sites.len()).unwrap(), None, None).unwrap();
    let counted = thresholds.minimum() - job.colluding_noise;
    let noise = SIGMA * (f64::from(thresholds.cohort()) / f64::from(counted)).sqrt();
    let parts = parts(sites, job);
    let run = |noise, seed| accuracy(&parts.held_out, &train(&parts.train, job, noise, seed));
    let mut runs: Vec<f64> = (0..SEEDS).map(|seed| run(noise, seed)).collect();
    runs.sort_by(f64::total_cmp);
    let middle = runs.len() / 2;
    let (median, plain) = ((runs[middle - 1] + runs[middle]) / 2.0, run(0.0, 0));
    println!(
        "{}, {} sites, n_min {}: median {median:.4} of {SEEDS} seeds ({:.4} to {:.4}), without noise {plain:.4}",
        job.name,
        sites.len(),
        thresholds.minimum(),
        runs[0],
        runs[runs.len() - 1],
    );
    (median, plain)
}

#[test]
fn five_clinics_lose_less_than_a_point_and_a_half_to_privacy() {
    let (median, plain) = figures(&clinics(5).unwrap(), &BREAST_CANCER, pooled_accuracy);
    assert!(median >= 0.955, "{median}");
    assert!(median >= plain - 0.015, "{median} against {plain}");
}

#[test]
fn any_number_of_clinics_trains_a_useful_model() {
    for count in [3, 4, 10, 50] {
        let (median, _) = figures(&clinics(count).unwrap(), &BREAST_CANCER, pooled_accuracy);
        assert!(median >= 0.93, "{count} clinics: {median}");
    }
}

#[test]
fn four_hospitals_reach_the_published_accuracy_and_more() {
    let Some(folder) = hospitals::tests::folder() else {
        return;
    };
    let sites = hospitals::hospitals(&folder).unwrap();
    let (median, _) = figures(&sites, &HEART, average_accuracy);
    assert!(median >= 0.82, "{median}");
}
