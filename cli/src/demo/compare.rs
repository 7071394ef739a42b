//! What the federated model is compared with: each member alone, and all records pooled, both without noise. Only a demo
//! can do that; it made the members' files itself.

use std::path::{Path, PathBuf};

use consort_contract::{DataSchema, Job};
use consort_coordinator::model_file;
use consort_model::{ModelSpec, Parameters};
use consort_participant::data::{DataSet, load};
use consort_training::reference::{Recipe, train};
use consort_training::{Batch, TrainingError, evaluate};

use super::jobs::DemoJob;
use super::layout::Layout;
use super::options::Plan;
use super::site::HELD_OUT_FILE;
use crate::failure::Failure;

/// Enough steps for logistic regression on scaled inputs to stop moving; the comparison is with training done well.
const STEPS: u32 = 300;

/// Step and momentum in the units of the mean gradient, for inputs of about one scale.
pub(super) const RECIPE: Recipe = Recipe {
    learning_rate: 0.5,
    momentum: 0.9,
    steps: STEPS,
};

/// Shares of records classified correctly, each the mean over the members of the share of their held-out part.
pub(crate) struct Accuracies {
    /// Of the released model.
    pub(crate) federated: f64,
    /// Of a model trained on all members' records together.
    pub(crate) pooled: f64,
    /// Of the models that members train alone, in the members' order.
    pub(crate) local: Vec<f64>,
}

/// Trains the comparisons and evaluates all models.
///
/// # Errors
/// A [`Failure`] if a file of the demo cannot be read or a model does not fit the job.
pub(crate) fn accuracies(
    layout: &Layout,
    plan: &Plan,
    model: &[u8],
) -> Result<Accuracies, Failure> {
    let job = crate::job::check(&layout.document)?;
    let spec = job.model();
    let parameters = model_file::read(spec, model).map_err(|error| {
        let what = format!("the released model is unusable: {error}");
        Failure::failed("model_unusable", what)
    })?;
    let parts = Parts::load(layout, plan, &job)?;
    let alone = |data: &DataSet| {
        parts.accuracy(spec, &trained(spec, &job, data.features(), data.labels())?)
    };
    Ok(Accuracies {
        federated: parts.accuracy(spec, &parameters)?,
        pooled: {
            let features: Vec<f32> = parts
                .train
                .iter()
                .flat_map(DataSet::features)
                .copied()
                .collect();
            let labels: Vec<f32> = parts
                .train
                .iter()
                .flat_map(DataSet::labels)
                .copied()
                .collect();
            parts.accuracy(spec, &trained(spec, &job, &features, &labels)?)?
        },
        local: parts.train.iter().map(alone).collect::<Result<_, _>>()?,
    })
}

/// All members' records.
struct Parts {
    train: Vec<DataSet>,
    held_out: Vec<DataSet>,
}

impl Parts {
    fn load(layout: &Layout, plan: &Plan, job: &Job) -> Result<Self, Failure> {
        let schema = &job.document().data;
        let all = |path: &dyn Fn(&str) -> PathBuf| {
            let sites = plan.sites.iter();
            sites
                .map(|site| read(&path(&site.name), schema, &plan.job))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            train: all(&|site| layout.plain_records(site, plan))?,
            held_out: all(&|site| layout.folder(site).join(HELD_OUT_FILE))?,
        })
    }

    fn accuracy(&self, spec: &ModelSpec, parameters: &Parameters) -> Result<f64, Failure> {
        let mut sum = 0.0;
        let mut parts = 0.0;
        for data in &self.held_out {
            let batch = batch(spec, data.features(), data.labels())?;
            let result = evaluate(spec, parameters, &batch).map_err(failed)?;
            if let Some(accuracy) = result.accuracy() {
                sum += accuracy;
                parts += 1.0;
            }
        }
        Ok(sum / parts)
    }
}

fn read(path: &Path, schema: &DataSchema, job: &DemoJob) -> Result<DataSet, Failure> {
    load(path, schema, job.max_records).map_err(|error| Failure::failed(error.code(), error))
}

fn trained(
    spec: &ModelSpec,
    job: &Job,
    features: &[f32],
    labels: &[f32],
) -> Result<Parameters, Failure> {
    let start = Parameters::initial(spec, &job.initial_seed());
    train(spec, &start, &batch(spec, features, labels)?, &RECIPE).map_err(failed)
}

fn batch<'a>(
    spec: &ModelSpec,
    features: &'a [f32],
    labels: &'a [f32],
) -> Result<Batch<'a>, Failure> {
    Batch::new(features, labels, spec.inputs()).map_err(failed)
}

fn failed(error: TrainingError) -> Failure {
    Failure::failed(error.code(), error)
}
