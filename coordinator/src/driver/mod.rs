//! What owns the machines: a driver per running job, on a thread of its own, which stores each accepted input before anything
//! follows from it. The rules are elsewhere (`consort_round`, [`crate::jobs`]); the driver decides nothing.

mod board;
mod command;
mod core;
mod desk;
mod projection;
mod recover;
mod requests;
mod rounds;
mod show;
mod thread;
mod uploads;

#[cfg(test)]
pub(crate) mod tests;

pub use board::{Board, Instance, Link, OwnSession, Said, Watcher, Wish};
pub use command::{Answer, Command, Reply};
pub use core::{Driver, Now};
pub use desk::{Desk, ReleasedFiles};

use std::num::NonZeroUsize;
use std::sync::Arc;

use consort_contract::{IdentitySecret, Roster};
use consort_daemon::crash::CrashPoints;
use consort_round::messages::RoundKeyJudge;
use consort_storage::{BlobStore, EventStore, RecordStore};

use crate::recorder::Recorder;

/// Where the coordinator can be made to die, for tests and the demo.
pub const CRASH_POINTS: &[&str] = &[
    "round-opened",
    "mid-collecting",
    "before-survivors",
    "before-release",
    "after-release",
];

/// Events and records in one store.
pub trait Store: EventStore + RecordStore {}

impl<T: EventStore + RecordStore> Store for T {}

/// What every driver works with.
pub struct Services {
    /// Signs announcements, survivor sets, results and manifests.
    pub identity: IdentitySecret,
    /// Who the members are.
    pub roster: Arc<Roster>,
    /// Judges evidence over round keys.
    pub judge: Arc<dyn RoundKeyJudge + Send + Sync>,
    /// Events and small records.
    pub store: Arc<dyn Store>,
    /// Updates and models.
    pub blobs: Arc<dyn BlobStore>,
    /// The audit log.
    pub recorder: Recorder,
    /// What followers and watchers see.
    pub board: Board,
    /// Where to die.
    pub crash: CrashPoints,
    /// Threads that take the masks of a sum away.
    pub workers: NonZeroUsize,
    /// Dangerous choices in force, for manifests.
    pub dangerous: Vec<String>,
}
