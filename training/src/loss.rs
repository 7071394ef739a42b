//! The losses: value and derivative by the model's outputs for one record, and which labels they know.

use consort_model::Loss;

use crate::TrainingError;

/// Refuses labels that the loss does not know, before anything is computed.
///
/// # Errors
/// [`TrainingError::Label`] names the first record.
pub(crate) fn check_labels(
    loss: Loss,
    outputs: usize,
    labels: &[f32],
) -> Result<(), TrainingError> {
    let is_count = |label: f32| label >= 0.0 && label.is_finite() && label.fract() == 0.0;
    let known = |label: &f32| match loss {
        Loss::BinaryCrossEntropy => *label == 0.0 || *label == 1.0,
        Loss::CrossEntropy => is_count(*label) && class_of(*label) < outputs,
        Loss::SquaredError => label.is_finite(),
        Loss::Poisson => is_count(*label),
    };
    let expected = match loss {
        Loss::BinaryCrossEntropy => "0 or 1",
        Loss::CrossEntropy => {
            "the number of a class, from 0 and below the outputs of the last layer"
        }
        Loss::SquaredError => "a finite number",
        Loss::Poisson => "a count: an integer from 0",
    };
    match labels.iter().position(|label| !known(label)) {
        Some(record) => Err(TrainingError::Label { record, expected }),
        None => Ok(()),
    }
}

/// Whether the model's outputs say what the label says; nothing for losses whose labels are not classes. A NaN among the outputs says nothing right.
pub(crate) fn is_hit(loss: Loss, outputs: &[f32], label: f32) -> Option<bool> {
    match loss {
        Loss::BinaryCrossEntropy if label == 1.0 => Some(outputs[0] > 0.0),
        Loss::BinaryCrossEntropy => Some(outputs[0] <= 0.0),
        Loss::CrossEntropy => {
            let class = class_of(label);
            let below = |(other, output): (usize, &f32)| other == class || *output < outputs[class];
            Some(outputs.iter().enumerate().all(below))
        }
        Loss::SquaredError | Loss::Poisson => None,
    }
}

/// The loss of one record in nats, at least 0; its derivative by each output is written to `deltas`. A damaged output makes the loss NaN or infinite.
pub(crate) fn loss_and_deltas(loss: Loss, outputs: &[f32], label: f32, deltas: &mut [f32]) -> f32 {
    match loss {
        Loss::BinaryCrossEntropy => {
            deltas[0] = logit_delta(outputs[0], label);
            cross_entropy(outputs[0], label)
        }
        Loss::CrossEntropy => softmax_cross_entropy(outputs, class_of(label), deltas),
        Loss::SquaredError => {
            deltas[0] = outputs[0] - label;
            deltas[0] * deltas[0] / 2.0
        }
        Loss::Poisson => poisson(outputs[0], label, deltas),
    }
}

/// The class that a checked label names.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an integer from 0; what f32 cannot hold saturates and is no class of any model"
)]
fn class_of(label: f32) -> usize {
    label as usize
}

/// −log softmax(z)[class], and softmax(z) less 1 at the class. The largest output is taken away first, so that nothing overflows.
fn softmax_cross_entropy(outputs: &[f32], class: usize, deltas: &mut [f32]) -> f32 {
    // f32::max passes over NaN, which comes back in the exponentials.
    let most = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (delta, output) in deltas.iter_mut().zip(outputs) {
        *delta = (output - most).exp();
        sum += *delta;
    }
    deltas.iter_mut().for_each(|delta| *delta /= sum);
    deltas[class] -= 1.0;
    sum.ln() - (outputs[class] - most)
}

/// e^z − y·z − y + y·ln y, which is 0 at its least, z = ln y.
fn poisson(output: f32, label: f32, deltas: &mut [f32]) -> f32 {
    let expected = output.exp();
    deltas[0] = expected - label;
    let own = if label > 0.0 {
        label * (label.ln() - output - 1.0)
    } else {
        0.0
    };
    expected + own
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
    fn losses_by_hand_are_those_by_hand() {
        let mut deltas = [0.0; 3];
        // Equal outputs: a third each, and ln 3.
        let loss = loss_and_deltas(Loss::CrossEntropy, &[7.0; 3], 1.0, &mut deltas);
        assert!((loss - 3_f32.ln()).abs() < 1e-6);
        for (delta, expected) in deltas.iter().zip([1.0 / 3.0, -2.0 / 3.0, 1.0 / 3.0]) {
            assert!((delta - expected).abs() < 1e-6);
        }
        let loss = loss_and_deltas(Loss::SquaredError, &[2.0], -1.0, &mut deltas[..1]);
        assert_eq!((loss, deltas[0]), (4.5, 3.0));
        let loss = loss_and_deltas(Loss::Poisson, &[4_f32.ln()], 4.0, &mut deltas[..1]);
        assert!(loss.abs() < 1e-5 && deltas[0].abs() < 1e-5);
        let loss = loss_and_deltas(Loss::Poisson, &[0.0], 0.0, &mut deltas[..1]);
        assert_eq!((loss, deltas[0]), (1.0, 1.0));
    }

    #[test]
    fn large_outputs_neither_overflow_nor_hide_damage() {
        let mut deltas = [0.0; 2];
        let loss = loss_and_deltas(Loss::CrossEntropy, &[3e38, 1.0], 0.0, &mut deltas);
        assert_eq!((loss, deltas), (0.0, [0.0, 0.0]));
        assert!(loss_and_deltas(Loss::CrossEntropy, &[f32::NAN, 1.0], 1.0, &mut deltas).is_nan());
        assert!(!loss_and_deltas(Loss::Poisson, &[1e4], 1.0, &mut deltas[..1]).is_finite());
        assert!(loss_and_deltas(Loss::SquaredError, &[f32::NAN], 1.0, &mut deltas[..1]).is_nan());
    }

    #[test]
    fn a_label_that_a_loss_does_not_know_is_refused_by_its_record() {
        for (loss, good, bad) in [
            (Loss::BinaryCrossEntropy, 1.0, 0.5),
            (Loss::CrossEntropy, 2.0, 3.0),
            (Loss::CrossEntropy, 0.0, -1.0),
            (Loss::CrossEntropy, 1.0, f32::INFINITY),
            (Loss::SquaredError, -2.5, f32::NAN),
            (Loss::Poisson, 12.0, 1.5),
        ] {
            assert!(check_labels(loss, 3, &[good]).is_ok());
            let refused = check_labels(loss, 3, &[good, good, bad]).unwrap_err();
            assert!(
                matches!(refused, TrainingError::Label { record: 2, .. }),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_class_is_hit_by_the_largest_output_alone() {
        let hit = |outputs: &[f32], label| is_hit(Loss::CrossEntropy, outputs, label);
        assert_eq!(hit(&[0.1, 0.7, 0.2], 1.0), Some(true));
        assert_eq!(hit(&[0.1, 0.7, 0.2], 2.0), Some(false));
        assert_eq!(hit(&[0.7, 0.7], 0.0), Some(false));
        assert_eq!(hit(&[0.1, f32::NAN], 0.0), Some(false));
        assert_eq!(is_hit(Loss::Poisson, &[1.0], 2.0), None);
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
