//! The batch of a round at a site, drawn by secret coins.

use consort_privacy::PoissonBatches;
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use crate::data::DataSet;

/// The records that take part in a round. Which they are is as secret as the noise: wiped on drop.
pub(super) struct Sample {
    pub(super) features: Zeroizing<Vec<f32>>,
    pub(super) labels: Zeroizing<Vec<f32>>,
}

impl Sample {
    /// Draws a batch, perhaps an empty one: that is a batch like any other, and its noise leaves as always.
    pub(super) fn draw<R: RngCore + CryptoRng>(
        data: &DataSet,
        batches: &PoissonBatches,
        rng: &mut R,
    ) -> Self {
        let records = u32::try_from(data.records()).expect("the job's cap on records is 2^22");
        let drawn = batches.draw(records, rng);
        let inputs = data.inputs();
        let mut sample = Self {
            features: Zeroizing::new(Vec::with_capacity(drawn.len() * inputs)),
            labels: Zeroizing::new(Vec::with_capacity(drawn.len())),
        };
        for place in drawn.iter() {
            let place = usize::try_from(*place).expect("a place in memory");
            let features = &data.features()[place * inputs..][..inputs];
            sample.features.extend_from_slice(features);
            sample.labels.push(data.labels()[place]);
        }
        sample
    }
}
