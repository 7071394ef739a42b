//! Plain training without privacy, for comparison only: what one site reaches alone, or all reach on pooled records.
//!
//! # Security
//! Nothing here clips or adds noise: the result may be shown only to whoever may see the records. No daemon calls it.

use consort_model::{ModelSpec, Parameters};

use crate::matrix::Matrix;
use crate::network::{Network, Trace};
use crate::threads::over_chunks;
use crate::{Batch, TrainingError};

/// Full-batch gradient descent with momentum, in the units of the mean gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Factor of the velocity in each step.
    pub learning_rate: f32,
    /// Share of the velocity that is kept from step to step.
    pub momentum: f32,
    /// Number of steps over all records.
    pub steps: u32,
}

/// Trains from the given parameters on all records: `velocity = momentum·velocity + mean gradient`,
/// `parameters −= learning_rate·velocity`. An empty batch changes nothing.
///
/// # Errors
/// [`TrainingError`] if parameters or records do not fit the model, or the training leaves the finite numbers.
pub fn train(
    spec: &ModelSpec,
    initial: &Parameters,
    batch: &Batch<'_>,
    recipe: &Recipe,
) -> Result<Parameters, TrainingError> {
    let mut parameters = initial.clone();
    let mut velocity = vec![0.0; spec.parameter_count()];
    for _ in 0..recipe.steps {
        let gradient = mean_gradient(spec, &parameters, batch)?;
        for (velocity, gradient) in velocity.iter_mut().zip(gradient) {
            *velocity = recipe.momentum * *velocity + gradient;
        }
        let moved = parameters
            .as_slice()
            .iter()
            .zip(&velocity)
            .map(|(parameter, velocity)| parameter - recipe.learning_rate * velocity)
            .collect();
        parameters = Parameters::new(spec, moved).map_err(|_| TrainingError::Diverged)?;
    }
    Ok(parameters)
}

/// The mean of the records' gradients in the order of the layout; zeros for an empty batch.
///
/// # Errors
/// [`TrainingError`] if parameters or records do not fit the model.
pub fn mean_gradient(
    spec: &ModelSpec,
    parameters: &Parameters,
    batch: &Batch<'_>,
) -> Result<Vec<f32>, TrainingError> {
    let network = Network::new(spec, parameters)?;
    let chunks: Vec<_> = network.chunks(batch)?.collect();
    let parts = over_chunks(&chunks, |chunks| gradient_sum(&network, chunks));
    let divisor = divisor(batch.records());
    let mut mean = vec![0.0_f32; spec.parameter_count()];
    for layers in parts {
        let sums = layers.iter().flat_map(Matrix::iter_rows).flatten();
        let pairs = mean.iter_mut().zip(sums);
        pairs.for_each(|(mean, sum)| *mean += sum / divisor);
    }
    Ok(mean)
}

/// The sum of the records' gradients, in the order of the layout.
fn gradient_sum(network: &Network, chunks: &[Batch<'_>]) -> Vec<Matrix> {
    let mut sums: Vec<_> = network.trained().map(|(_, stage)| stage.zeros()).collect();
    let mut trace = Trace::default();
    for chunk in chunks {
        network.forward(chunk, &mut trace);
        network.judge(chunk, &mut trace);
        network.backward(&mut trace);
        for ((index, stage), sums) in network.trained().zip(&mut sums) {
            stage.add_gradients(index, &mut trace, sums);
        }
    }
    sums.into_iter().flatten().collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a mean over more than 2^24 records is none the worse for a rounded divisor"
)]
fn divisor(records: usize) -> f32 {
    records.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate;
    use consort_model::{InitialSeed, Layer, Loss};

    const RECIPE: Recipe = Recipe {
        learning_rate: 0.5,
        momentum: 0.9,
        steps: 100,
    };

    #[test]
    fn a_network_learns_what_a_line_cannot_separate() {
        let features = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
        let batch = Batch::new(&features, &[0.0, 1.0, 1.0, 0.0], 2).unwrap();
        let layers = vec![
            Layer::Dense { outputs: 8 },
            Layer::Tanh,
            Layer::Dense { outputs: 1 },
        ];
        let spec = ModelSpec::new(2, layers, Loss::BinaryCrossEntropy).unwrap();
        let start = Parameters::initial(&spec, &InitialSeed([1; 32]));
        let trained = train(&spec, &start, &batch, &RECIPE).unwrap();
        assert_eq!(
            evaluate(&spec, &trained, &batch).unwrap().accuracy(),
            Some(1.0)
        );
    }

    #[test]
    fn no_records_leave_the_parameters_where_they_are() {
        let spec = ModelSpec::new(
            2,
            vec![Layer::Dense { outputs: 1 }],
            Loss::BinaryCrossEntropy,
        )
        .unwrap();
        let start = Parameters::new(&spec, vec![0.5, -0.5, 0.25]).unwrap();
        let batch = Batch::new(&[], &[], 2).unwrap();
        assert_eq!(train(&spec, &start, &batch, &RECIPE).unwrap(), start);
    }

    #[test]
    fn a_training_that_leaves_the_finite_numbers_is_refused() {
        let spec = ModelSpec::new(
            1,
            vec![Layer::Dense { outputs: 1 }],
            Loss::BinaryCrossEntropy,
        )
        .unwrap();
        let start = Parameters::new(&spec, vec![0.0, 0.0]).unwrap();
        let batch = Batch::new(&[1e30], &[1.0], 1).unwrap();
        let recipe = Recipe {
            learning_rate: 1e30,
            ..RECIPE
        };
        assert_eq!(
            train(&spec, &start, &batch, &recipe),
            Err(TrainingError::Diverged)
        );
    }
}
