//! `fedavg` at a site: local steps on its own model, each by a sum that has all of its noise from this site.

use consort_contract::Averaging;
use consort_model::{Parameters, ParametersError};
use consort_privacy::{LocalModel, LocalUpdate};
use consort_site::control::SiteControl;
use rand_core::{CryptoRng, RngCore};

use super::{Stopwatch, TrainingFault, TrainingTask};

/// What the round's local steps have moved, and the control that they leave where the job asks for SCAFFOLD.
#[derive(Debug)]
pub struct LocalSteps {
    pub(super) update: LocalUpdate,
    pub(super) control: Option<SiteControl>,
}

impl LocalSteps {
    /// Takes the round's local steps. Each one's noise is drawn before its sum is made, so that the time it takes says nothing of
    /// the records.
    pub(super) fn taken<R: RngCore + CryptoRng>(
        task: &TrainingTask,
        averaging: &Averaging,
        rng: &mut R,
        watch: &mut Stopwatch,
    ) -> Result<Self, TrainingFault> {
        let (job, plan) = &*task.agreed;
        let (plan, round) = (plan.noise(), task.key.round.0);
        let global = &task.parameters.as_slice()[..job.model().parameter_count()];
        let mut local = LocalModel::at(global, averaging.local_rule(round), plan)?;
        if let Some(controls) = &task.controls {
            local = local.corrected_by(controls.correction())?;
        }
        for step in 0..plan.round_mechanism().steps().count() {
            let noise = watch.noise(|| task.noise(rng))?;
            let sum = if step == 0 && task.controls.is_none() {
                task.clipped_sum(&task.parameters)?
            } else {
                let here = Parameters::new(job.model(), local.values().to_vec());
                task.clipped_sum(&here.map_err(TrainingFault::Diverged)?)?
            };
            local.step(sum, noise)?;
        }
        // Before it is paid for: what is not finite cannot be encoded, and must not be kept.
        ensure_finite(local.values())?;
        let control = task.controls.clone().map(|controls| {
            let pairs = local.values().iter().zip(global);
            let moved = pairs.map(|(local, global)| local - global);
            controls.after(*task.parameters.hash().as_bytes(), moved, averaging, round)
        });
        let control = control.transpose()?;
        Ok(Self {
            update: local.finish()?,
            control,
        })
    }
}

/// Refuses a model or a control that left the finite numbers.
pub(super) fn ensure_finite(values: &[f32]) -> Result<(), TrainingFault> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(element) => Err(TrainingFault::Diverged(ParametersError::NotFinite {
            element,
        })),
        None => Ok(()),
    }
}
