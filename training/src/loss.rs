//! The losses: value and derivative by the model's outputs for one record, and which labels they know.

use consort_model::Loss;

use crate::TrainingError;

/// Refuses labels that the loss does not know, before anything is computed.
///
/// # Errors
/// [`TrainingError::Label`] names the first record.
pub(crate) fn check_labels(
    loss: Loss,
    _outputs: usize,
    labels: &[f32],
) -> Result<(), TrainingError> {
    let known = |label: &f32| match loss {
        Loss::BinaryCrossEntropy => *label == 0.0 || *label == 1.0,
    };
    match labels.iter().position(|label| !known(label)) {
        Some(record) => Err(TrainingError::Label { record }),
        None => Ok(()),
    }
}

/// Whether the model's outputs say what the label says. A NaN among them says nothing.
pub(crate) fn is_hit(loss: Loss, outputs: &[f32], label: f32) -> bool {
    match loss {
        Loss::BinaryCrossEntropy if label == 1.0 => outputs[0] > 0.0,
        Loss::BinaryCrossEntropy => outputs[0] <= 0.0,
    }
}

/// The loss of one record in nats, at least 0; its derivative by each output is written to `deltas`. A damaged output makes both NaN or infinite.
pub(crate) fn loss_and_deltas(loss: Loss, outputs: &[f32], label: f32, deltas: &mut [f32]) -> f32 {
    match loss {
        Loss::BinaryCrossEntropy => {
            deltas[0] = logit_delta(outputs[0], label);
            cross_entropy(outputs[0], label)
        }
    }
}

/// The loss of one record, log(1 + exp(z)) − y·z for logit z and label y ∈ {0, 1}, in nats.
///
/// Written as max(z, 0) − y·z + log(1 + exp(−|z|)), which neither overflows nor cancels for any finite logit.
fn cross_entropy(logit: f32, label: f32) -> f32 {
    // f32::max would turn NaN into 0 and hide a damaged record.
    let positive = if logit < 0.0 { 0.0 } else { logit };
    positive - label * logit + (-logit.abs()).exp().ln_1p()
}

/// The derivative of [`cross_entropy`] by the logit: sigmoid(z) − y.
fn logit_delta(logit: f32, label: f32) -> f32 {
    // Both branches take exp of a number at most 0.
    let sigmoid = if logit < 0.0 {
        let small = logit.exp();
        small / (1.0 + small)
    } else {
        1.0 / (1.0 + (-logit).exp())
    };
    sigmoid - label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_agrees_with_double_precision() {
        for step in -80..=80_i8 {
            let logit = f32::from(step) / 4.0;
            for label in [0.0_f32, 1.0] {
                let (z, y) = (f64::from(logit), f64::from(label));
                let loss = (1.0 + z.exp()).ln() - y * z;
                assert!((f64::from(cross_entropy(logit, label)) - loss).abs() < 1e-5);
                let delta = 1.0 / (1.0 + (-z).exp()) - y;
                assert!((f64::from(logit_delta(logit, label)) - delta).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn extreme_logits_stay_finite_and_nan_stays_nan() {
        assert_eq!(cross_entropy(1e30, 1.0), 0.0);
        assert_eq!(cross_entropy(-1e30, 1.0), 1e30);
        assert_eq!(logit_delta(-1e30, 1.0), -1.0);
        assert_eq!(logit_delta(1e30, 1.0), 0.0);
        assert!(cross_entropy(f32::NAN, 1.0).is_nan());
        assert!(logit_delta(f32::NAN, 0.0).is_nan());
    }
}
