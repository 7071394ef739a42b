//! `consort-bench-training`: what a step costs, private (clipped sum on the integer grid, without noise) and plain, on generated records.
//!
//! Threads are those that the process may use: pin it (`taskset -c 0,1`) to measure two. Figures are of the quickest of many steps, which
//! is what the machine can do when nothing else runs, and of the median one; beside it the CPU time of all threads, which is little touched by what else runs.

use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use consort_model::{InitialSeed, ModelSpec, Parameters};
use consort_privacy::{ClipNorm, Grid, GridBits, RecordCap};
use consort_training::{Batch, Clipping, LossWeight, clipped_sum, reference};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rustix::time::{ClockId, clock_gettime};

/// Steps of private and plain training on one model.
#[derive(Parser)]
struct Arguments {
    /// The model: mlp, tabular, cnn, or a file with a declared one.
    #[arg(long)]
    model: String,
    /// Records of a step.
    #[arg(long)]
    batch: usize,
    /// Steps of each kind.
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Bits of the integer grid.
    #[arg(long, default_value_t = 20)]
    grid_bits: u8,
}

const MLP: &str = r#"{"inputs": 784, "layers": [{"dense": {"outputs": 256}}, "relu", {"dense": {"outputs": 128}}, "relu",
    {"dense": {"outputs": 10}}], "loss": "cross_entropy"}"#;

const TABULAR: &str = r#"{"inputs": 100, "layers": [{"dense": {"outputs": 256}}, "relu", {"dense": {"outputs": 2}}],
    "loss": "cross_entropy"}"#;

const CNN: &str = r#"{"inputs": 784, "layers": [{"image": {"channels": 1, "height": 28, "width": 28}},
    {"conv2d": {"outputs": 16, "kernel": 5}}, "relu", "max_pool", {"conv2d": {"outputs": 32, "kernel": 5}}, "relu", "max_pool", "flatten",
    {"dense": {"outputs": 10}}], "loss": "cross_entropy"}"#;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let spec: ModelSpec = match arguments.model.as_str() {
        "mlp" => serde_json::from_str(MLP)?,
        "tabular" => serde_json::from_str(TABULAR)?,
        "cnn" => serde_json::from_str(CNN)?,
        path => serde_json::from_slice(&std::fs::read(path).context("the model's file")?)?,
    };
    let parameters = Parameters::initial(&spec, &InitialSeed([7; 32]));
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let width = usize::try_from(spec.inputs())?;
    let features: Vec<f32> = (0..arguments.batch * width)
        .map(|_| between_minus_one_and_one(&mut rng))
        .collect();
    let labels: Vec<f32> = (0..arguments.batch)
        .map(|_| f32::from(rng.next_u32() % 2 == 1))
        .collect();
    let batch = Batch::new(&features, &labels, spec.inputs())?;
    let grid = Grid::new(ClipNorm::new(1.0)?, GridBits::new(arguments.grid_bits)?);
    let clipping = Clipping::new(grid, LossWeight::new(0.1)?);
    let cap = RecordCap::new(u32::try_from(arguments.batch)?)?;
    let private = time(arguments.steps, || {
        clipped_sum(&spec, &parameters, &batch, &clipping, cap)
    })?;
    let plain = time(arguments.steps, || {
        reference::mean_gradient(&spec, &parameters, &batch)
    })?;
    println!(
        "model,batch,parameters,kind,best_ms,median_ms,cpu_ms,records_per_s,records_per_cpu_s,peak_mib"
    );
    for (kind, Timing { best, median, cpu }) in [("private", private), ("plain", plain)] {
        println!(
            "{},{},{},{kind},{:.3},{:.3},{:.3},{:.0},{:.0},{:.0}",
            arguments.model,
            arguments.batch,
            spec.parameter_count(),
            best * 1e3,
            median * 1e3,
            cpu * 1e3,
            f64::from(u32::try_from(arguments.batch)?) / best,
            f64::from(u32::try_from(arguments.batch)?) / cpu,
            peak_mib()?
        );
    }
    println!(
        "private / plain: {:.3} (best), {:.3} (median), {:.3} (CPU)",
        private.best / plain.best,
        private.median / plain.median,
        private.cpu / plain.cpu
    );
    Ok(())
}

/// Seconds of the quickest step and of the median one, and the least CPU time of a step.
#[derive(Clone, Copy)]
struct Timing {
    best: f64,
    median: f64,
    cpu: f64,
}

fn time<T, E: Into<anyhow::Error>>(
    steps: usize,
    mut step: impl FnMut() -> Result<T, E>,
) -> anyhow::Result<Timing> {
    let (mut seconds, mut cpu) = (Vec::with_capacity(steps), f64::INFINITY);
    for _ in 0..steps.max(1) {
        let (start, before) = (Instant::now(), cpu_seconds());
        std::hint::black_box(step().map_err(Into::into)?);
        cpu = cpu.min(cpu_seconds() - before);
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Timing {
        best: seconds[0],
        median: seconds[seconds.len() / 2],
        cpu,
    })
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a bench")]
fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// The most memory that the process held so far.
fn peak_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "24 bits are exact in f32")]
fn between_minus_one_and_one(rng: &mut ChaCha20Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0
}
