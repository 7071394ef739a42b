//! What the services ask of a driver.

use consort_aggregation::{Digest, VectorSchema};
use consort_contract::{OrganisationId, Vote};
use consort_proto::convert::AttemptKey;
use consort_round::MemberMessage;
use consort_storage::BlobKey;
use tokio::sync::oneshot;

use super::Instance;
use crate::error::Refusal;

/// An answer that is on its way; nobody may wait for it any more.
pub type Reply = oneshot::Sender<Result<Answer, Refusal>>;

/// A request to a job. The caller is attested: it is who it says.
#[derive(Debug)]
pub enum Command {
    /// A member's vote.
    Vote(Vote),
    /// A member opened a stream.
    Connected(OrganisationId, Instance),
    /// A member's message of a round; a seal comes after its chunks are stored.
    Message {
        /// Who says it.
        from: OrganisationId,
        /// In which attempt.
        key: AttemptKey,
        /// What.
        message: Box<MemberMessage>,
    },
    /// A member wants to upload its masked update.
    BeginUpload {
        /// Who.
        from: OrganisationId,
        /// In which attempt.
        key: AttemptKey,
    },
    /// A member wants the model of the running round.
    Model {
        /// Who.
        from: OrganisationId,
        /// The hash that was announced.
        model: Digest,
    },
    /// An operator ends the job.
    Cancel,
}

/// What came of a request.
#[derive(Debug)]
pub enum Answer {
    /// It is stored.
    Stored,
    /// The upload may begin.
    Upload(Upload),
    /// The model's bytes.
    Model(Vec<u8>),
}

/// Where an upload goes, and what it must be.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Where the chunks go.
    pub blob: BlobKey,
    /// What they must hold.
    pub schema: VectorSchema,
}
