//! What the services ask of a driver.

use std::sync::Arc;

use consort_aggregation::Digest;
use consort_contract::{OrganisationId, Vote};
use consort_proto::convert::AttemptKey;
use consort_round::blame::Complaint;
use consort_round::{MemberMessage, UpdateSeal};
use prost::bytes::Bytes;
use tokio::sync::oneshot;

use super::Instance;
use crate::error::Refusal;
use crate::spool::Upload;

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
    /// A member complains of a dealer's box.
    Complaint {
        /// Who.
        from: OrganisationId,
        /// In which attempt.
        key: AttemptKey,
        /// Of whom, and what proves it.
        complaint: Box<Complaint>,
    },
    /// A member wants to upload its masked update, or to know how far it is.
    Upload {
        /// Who.
        from: OrganisationId,
        /// In which attempt.
        key: AttemptKey,
    },
    /// A part of an upload was refused; it is kept by name.
    UploadRefused {
        /// Whose.
        from: OrganisationId,
        /// In which attempt.
        key: AttemptKey,
        /// Why.
        refusal: Refusal,
        /// The seal that was refused, if it was the seal: a second one convicts its signer.
        seal: Option<Box<UpdateSeal>>,
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
    /// Where the update goes.
    Upload {
        /// Takes its chunks.
        upload: Arc<Upload>,
        /// Whether it counts already.
        sealed: bool,
    },
    /// The model's bytes, shared by all who fetch them.
    Model(Bytes),
}
