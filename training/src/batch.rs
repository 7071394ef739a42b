//! The records a computation runs over: features and labels side by side, checked once.

use crate::TrainingError;

/// Borrowed records: features [records, inputs] row-major, one label per record. May be empty.
///
/// A feature may be NaN or infinite: such a record counts as zero in a clipped sum, so that one damaged row of a site
/// neither stops a round nor moves another record's contribution.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    features: &'a [f32],
    labels: &'a [f32],
    inputs: usize,
}

impl<'a> Batch<'a> {
    /// Takes features [records, inputs] row-major and labels `[records]`. Which labels there may be is the loss's matter; they are
    /// checked by whatever computes with them, before it does.
    ///
    /// # Errors
    /// [`TrainingError::FeaturesShape`] if the two lengths do not fit.
    pub fn new(features: &'a [f32], labels: &'a [f32], inputs: u32) -> Result<Self, TrainingError> {
        let inputs = inputs as usize;
        if inputs == 0 || labels.len().checked_mul(inputs) != Some(features.len()) {
            return Err(TrainingError::FeaturesShape {
                features: features.len(),
                records: labels.len(),
                inputs,
            });
        }
        Ok(Self {
            features,
            labels,
            inputs,
        })
    }

    /// Number of records.
    pub fn records(&self) -> usize {
        self.labels.len()
    }

    /// Number of features of one record.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Features [records, inputs], row-major.
    pub(crate) fn features(&self) -> &'a [f32] {
        self.features
    }

    /// Labels `[records]`.
    pub(crate) fn labels(&self) -> &'a [f32] {
        self.labels
    }

    /// Whether all features of one record are finite.
    pub(crate) fn is_finite(&self, record: usize) -> bool {
        let features = &self.features[record * self.inputs..][..self.inputs];
        // Without a way out half-way, so that it is done by vectors.
        let damaged = |value: &f32| u32::from(!value.is_finite());
        features.iter().map(damaged).sum::<u32>() == 0
    }

    /// The records in order, at most `size` at a time; none for an empty batch.
    pub(crate) fn chunks(&self, size: usize) -> impl Iterator<Item = Batch<'a>> + use<'a> {
        let inputs = self.inputs;
        self.features
            .chunks(size * inputs)
            .zip(self.labels.chunks(size))
            .map(move |(features, labels)| Batch {
                features,
                labels,
                inputs,
            })
    }
}

/// Shows sizes only: records never reach a log.
impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Batch({} records, {} inputs)",
            self.records(),
            self.inputs
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for (features, labels, inputs) in [(5, 2, 3), (6, 3, 3), (0, 0, 0), (1, 0, 3)] {
            let refused = Batch::new(&vec![0.0; features], &vec![1.0; labels], inputs).unwrap_err();
            assert_eq!(refused.code(), "training_features_shape");
        }
    }

    #[test]
    fn chunks_cover_the_records_in_order() {
        let features: Vec<f32> = (0..10_u8).map(f32::from).collect();
        let batch = Batch::new(&features, &[0.0, 1.0, 1.0, 0.0, 1.0], 2).unwrap();
        let sizes: Vec<_> = batch.chunks(2).map(|chunk| chunk.records()).collect();
        assert_eq!(sizes, [2, 2, 1]);
        let joined: Vec<_> = batch
            .chunks(2)
            .flat_map(|chunk| chunk.features().to_vec())
            .collect();
        assert_eq!(joined, features);
    }

    #[test]
    fn debug_output_shows_no_record() {
        let batch = Batch::new(&[0.125, 0.5], &[1.0], 2).unwrap();
        assert_eq!(format!("{batch:?}"), "Batch(1 records, 2 inputs)");
    }
}
