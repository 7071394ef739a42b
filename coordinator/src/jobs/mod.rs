//! What a job is to the coordinator: its contract, the events that were accepted, and the state that follows from them.
//! Pure: the same events give the same state, on any machine, at any time.

mod contract;
mod event;
mod state;
mod view;

#[cfg(test)]
mod tests;

pub use contract::{Contract, ProposalError};
pub use event::{Blamed, Ending, EventError, Final, JobEvent, Released, Stamped};
pub use state::{EndedRound, JobState, MAX_ATTEMPTS, NextStep, RunningAttempt, Stage};
pub(crate) use state::{is_spent, named};
pub use view::{brief, clipped, page, rounds_after, view};
