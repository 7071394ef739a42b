//! `fedavg` at a site: local steps on its own model, each by a sum that has all of its noise from this site.

use consort_contract::Averaging;
use consort_model::Parameters;
use consort_privacy::{LocalModel, LocalUpdate};
use rand_core::{CryptoRng, RngCore};

use super::{Stopwatch, TrainingFault, TrainingTask};

/// Takes the round's local steps. Each one's noise is drawn before its sum is made, so that the time it takes says nothing of the
/// records.
pub(super) fn local_steps<R: RngCore + CryptoRng>(
    task: &TrainingTask,
    averaging: &Averaging,
    rng: &mut R,
    watch: &mut Stopwatch,
) -> Result<LocalUpdate, TrainingFault> {
    let (job, plan) = &*task.agreed;
    let plan = plan.noise();
    let global = task.parameters.as_slice();
    let mut local = LocalModel::at(global, averaging.local_rule(task.key.round.0), plan)?;
    for step in 0..plan.round_mechanism().steps().count() {
        let noise = watch.noise(|| task.noise(rng))?;
        let sum = if step == 0 {
            task.clipped_sum(&task.parameters)?
        } else {
            let here = Parameters::new(job.model(), local.values().to_vec());
            task.clipped_sum(&here.map_err(TrainingFault::Diverged)?)?
        };
        local.step(sum, noise)?;
    }
    Ok(local.finish()?)
}
