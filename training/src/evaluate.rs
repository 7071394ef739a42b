//! How well parameters do on records: counts and loss, for the site that holds the records.

use consort_model::{ModelSpec, Parameters};

use crate::loss::is_hit;
use crate::network::{Network, Trace};
use crate::{Batch, TrainingError};

/// The result of an evaluation on one batch.
///
/// # Security
/// These are exact statistics of the records. They are for the site itself; released, they cost privacy like any
/// other query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Records evaluated.
    pub records: usize,
    /// Records whose logit is above 0 exactly if their label is 1.
    pub correct: usize,
    /// Sum of the records' losses in nats; not finite if a record or the model is damaged.
    pub loss_sum: f64,
}

impl Evaluation {
    /// Share of records classified correctly, 0 to 1; none for an empty batch.
    pub fn accuracy(&self) -> Option<f64> {
        self.mean_of(count(self.correct))
    }

    /// Mean loss per record in nats; none for an empty batch.
    pub fn mean_loss(&self) -> Option<f64> {
        self.mean_of(self.loss_sum)
    }

    fn mean_of(&self, sum: f64) -> Option<f64> {
        (self.records > 0).then(|| sum / count(self.records))
    }
}

/// Evaluates parameters on a batch; a record counts as positive if its logit is above 0.
///
/// # Errors
/// [`TrainingError`] if parameters or records do not fit the model.
pub fn evaluate(
    spec: &ModelSpec,
    parameters: &Parameters,
    batch: &Batch<'_>,
) -> Result<Evaluation, TrainingError> {
    let network = Network::new(spec, parameters)?;
    let mut result = Evaluation {
        records: batch.records(),
        correct: 0,
        loss_sum: 0.0,
    };
    let mut trace = Trace::default();
    for chunk in network.chunks(batch)? {
        network.forward(&chunk, &mut trace);
        network.judge(&chunk, &mut trace);
        result.loss_sum += trace
            .losses
            .iter()
            .map(|loss| f64::from(*loss))
            .sum::<f64>();
        let outputs = network.outputs_of(&trace).iter_rows();
        for (output, label) in outputs.zip(chunk.labels()) {
            result.correct += usize::from(is_hit(spec.loss(), output, *label));
        }
    }
    Ok(result)
}

/// The outputs for each record of a batch, [records, outputs], in order; not finite where a record or the model is damaged.
///
/// # Errors
/// [`TrainingError`] if parameters or records do not fit the model.
///
/// # Security
/// Outputs tell of records. They are for the site itself.
pub fn logits(
    spec: &ModelSpec,
    parameters: &Parameters,
    batch: &Batch<'_>,
) -> Result<Vec<f32>, TrainingError> {
    let network = Network::new(spec, parameters)?;
    let mut outputs = Vec::with_capacity(batch.records() * network.outputs());
    let mut trace = Trace::default();
    for chunk in network.chunks(batch)? {
        network.forward(&chunk, &mut trace);
        let rows = network.outputs_of(&trace).iter_rows();
        outputs.extend(rows.flatten());
    }
    Ok(outputs)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of records in memory are far below 2^53"
)]
fn count(records: usize) -> f64 {
    records as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_model::{Layer, Loss};

    fn logistic() -> (ModelSpec, Parameters) {
        let layers = vec![Layer::Dense { outputs: 1 }];
        let spec = ModelSpec::new(1, layers, Loss::BinaryCrossEntropy).unwrap();
        let parameters = Parameters::new(&spec, vec![2.0, -1.0]).unwrap();
        (spec, parameters)
    }

    #[test]
    fn a_model_by_hand_is_evaluated_as_by_hand() {
        let (spec, parameters) = logistic();
        // Logits 1, -1, 3: the third is wrong.
        let batch = Batch::new(&[1.0, 0.0, 2.0], &[1.0, 0.0, 0.0], 1).unwrap();
        let result = evaluate(&spec, &parameters, &batch).unwrap();
        assert_eq!((result.records, result.correct), (3, 2));
        let loss = 2.0 * (1.0 + (-1.0_f64).exp()).ln() + (1.0 + 3.0_f64.exp()).ln();
        assert!((result.mean_loss().unwrap() - loss / 3.0).abs() < 1e-6);
        assert!((result.accuracy().unwrap() - 2.0 / 3.0).abs() < 1e-12);
        let outputs = logits(&spec, &parameters, &batch).unwrap();
        assert_eq!(outputs, [1.0, -1.0, 3.0]);
    }

    #[test]
    fn an_empty_batch_has_no_accuracy() {
        let (spec, parameters) = logistic();
        let result = evaluate(&spec, &parameters, &Batch::new(&[], &[], 1).unwrap()).unwrap();
        assert_eq!((result.accuracy(), result.mean_loss()), (None, None));
    }

    #[test]
    fn records_of_another_width_are_refused() {
        let (spec, parameters) = logistic();
        let batch = Batch::new(&[0.0; 4], &[1.0; 2], 2).unwrap();
        let refused = evaluate(&spec, &parameters, &batch).unwrap_err();
        assert_eq!(refused.code(), "training_inputs_of_another_model");
    }
}
