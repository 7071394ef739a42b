//! SCAFFOLD over the rounds of `fedavg`: what members begin a round with, and how a site's own control follows from its steps.
//!
//! Karimireddy et al. (ICML 2020), algorithm 1, option II; the server's part is `consort_model::Scaffold`. The announced model carries
//! the control c of all behind its parameters. A site adds c − c_i to each noised mean gradient, and its control becomes the mean of
//! those gradients: all of it is made of noised sums that were paid for, so that it costs nothing more.

use std::borrow::Cow;

use consort_model::{ModelSpec, OptimizerState, Parameters};

use super::schedule::share;
use super::{Algorithm, FedAvg, first_broken};
use crate::job::{Job, JobError};
use crate::plan::narrow;

/// SCAFFOLD takes the average as it is: there is no control of a momentum, of moments or of a pull.
pub(super) fn check(a: &FedAvg) -> Result<(), JobError> {
    let count = |is_there: bool| f64::from(u8::from(is_there));
    first_broken([
        (
            a.momentum == 0.0,
            "fedavg.momentum",
            a.momentum,
            "0 beside scaffold",
        ),
        (
            a.server_optimizer.is_none(),
            "fedavg.server_optimizer",
            count(true),
            "absent beside scaffold",
        ),
        (
            a.proximal.is_none(),
            "fedavg.proximal",
            a.proximal.unwrap_or(0.0),
            "absent beside scaffold",
        ),
        (
            (1..=a.rounds).all(|round| local_way(a, round).is_normal()),
            "fedavg.local_learning_rate",
            a.local_learning_rate,
            "such that local_steps times it, by the local schedule, is a normal f32 in every round, beside scaffold",
        ),
    ])
}

/// K·η_l of a round, as [`super::Averaging::local_way`] has it: what updates are divided by.
fn local_way(a: &FedAvg, round: u32) -> f32 {
    let share = share(a.local_schedule, round, a.rounds);
    narrow(f64::from(a.local_steps)) * (narrow(a.local_learning_rate) * share)
}

/// A member keeps two vectors of a model's length in one record of its state, which holds 8 MiB.
const MAX_SCAFFOLD_PARAMETERS: u32 = 1_000_000;

pub(super) fn check_model(model: &ModelSpec) -> Result<(), JobError> {
    let parameters = u32::try_from(model.parameter_count()).unwrap_or(u32::MAX);
    first_broken([(
        parameters <= MAX_SCAFFOLD_PARAMETERS,
        "parameters of the model",
        parameters.into(),
        "at most 1000000 beside fedavg.scaffold",
    )])
}

impl Job {
    /// Whether the announced model carries a control.
    pub fn has_control(&self) -> bool {
        match self.algorithm() {
            Algorithm::FedAvg(a) => a.scaffold,
            Algorithm::DpFedSgd(_) | Algorithm::Query(_) => false,
        }
    }

    /// Values of what a round begins with: the model's parameters, and as many of the control where there is one.
    pub fn announced_values(&self) -> usize {
        let parameters = self.model().parameter_count();
        if self.has_control() {
            2 * parameters
        } else {
            parameters
        }
    }

    /// What a round begins with, whose hash it announces.
    pub fn announced<'a>(&self, state: &'a OptimizerState) -> Cow<'a, Parameters> {
        if self.has_control() {
            Cow::Owned(state.with_control())
        } else {
            Cow::Borrowed(state.parameters())
        }
    }

    /// What the first round begins with.
    pub fn first_announced(&self) -> Parameters {
        let initial = Parameters::initial(self.model(), &self.initial_seed());
        if self.has_control() {
            OptimizerState::initial(initial).with_control()
        } else {
            initial
        }
    }
}
