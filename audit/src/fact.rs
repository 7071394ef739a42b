//! What is to be recorded, before the log gives it its time.

use crate::record::{Event, Record, RoundRef};
use crate::text::JobId;

/// Something that happened and has no place in the log yet. Whoever appends gives it its time, where the order is decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// The job it belongs to; none for what concerns the whole consortium.
    pub job: Option<JobId>,
    /// The round it belongs to; none for what concerns the whole job.
    pub round: Option<RoundRef>,
    /// What happened.
    pub event: Event,
}

impl Fact {
    /// Something that concerns the whole consortium.
    pub fn of_consortium(event: Event) -> Self {
        Self {
            job: None,
            round: None,
            event,
        }
    }

    /// Something that concerns a job.
    pub fn of_job(job: JobId, event: Event) -> Self {
        Self {
            job: Some(job),
            ..Self::of_consortium(event)
        }
    }

    /// Something that concerns a round of a job.
    pub fn of_round(job: JobId, round: RoundRef, event: Event) -> Self {
        Self {
            round: Some(round),
            ..Self::of_job(job, event)
        }
    }

    /// The record of it, entered at this time in milliseconds since 1970.
    pub fn at(self, time_unix_ms: u64) -> Record {
        Record::new(time_unix_ms, self)
    }
}
