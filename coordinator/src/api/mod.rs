//! The services, one file each: what comes in is parsed, the desk is asked, what it says goes out.

mod auth;
mod consent;
mod follow;
mod job;
mod manifest;
mod model;
mod round;
mod upload;
mod witness;

pub use auth::Token;
pub use consent::Consent;
pub use job::Jobs;
pub(crate) use manifest::Manifests;
pub use model::Models;
pub use round::Rounds;
pub use witness::Witnesses;

use std::sync::Arc;

use consort_attestation::channel::VerifiedPeer;
use consort_contract::OrganisationId;
use consort_proto::errors;
use prost::bytes::Bytes;
use tokio_stream::Iter;
use tonic::{Code, Request, Status};

use crate::error::{Fault, Refusal, RefusalKind};

/// Largest message of both ports: a chunk of 256 KiB, or the adverts of a round, with room.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// What one upload may have on the way to its handler, bytes: two chunks, so that one arrives while the other is stored.
pub const STREAM_WINDOW_BYTES: u32 = 512 * 1024;

/// What one member's connection may have on the way, bytes: its upload, and room for its other calls beside it.
pub const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Largest frame of HTTP/2 that members may send, bytes: a chunk is four of them instead of sixteen, and each is buffered whole.
pub const MAX_FRAME_BYTES: u32 = 64 * 1024;

/// Largest piece of a file in one message.
const PIECE_BYTES: usize = 256 * 1024;

/// A file on its way out: the next message is made when the connection has room for it.
type Pieces<T> = Iter<Box<dyn Iterator<Item = Result<T, Status>> + Send>>;

/// A stream of messages that are made one by one.
fn lazily<T>(messages: impl Iterator<Item = Result<T, Status>> + Send + 'static) -> Pieces<T> {
    let messages: Box<dyn Iterator<Item = Result<T, Status>> + Send> = Box::new(messages);
    tokio_stream::iter(messages)
}

/// Cuts a file into pieces that share its bytes.
fn pieces(file: Bytes) -> impl Iterator<Item = Bytes> + Send {
    (0..file.len())
        .step_by(PIECE_BYTES)
        .map(move |first| file.slice(first..file.len().min(first.saturating_add(PIECE_BYTES))))
}

/// A refusal as gRPC says it.
fn status(refusal: &Refusal) -> Status {
    let code = match refusal.kind {
        RefusalKind::Invalid => Code::InvalidArgument,
        RefusalKind::Missing => Code::NotFound,
        RefusalKind::Conflict => Code::AlreadyExists,
        RefusalKind::NotNow => Code::FailedPrecondition,
        RefusalKind::Forbidden => Code::PermissionDenied,
        RefusalKind::Busy => Code::Unavailable,
        RefusalKind::Exhausted => Code::ResourceExhausted,
    };
    errors::status(code, refusal.code, refusal)
}

/// A fault as gRPC says it. The daemon ends because of it; the caller learns no more than that.
fn unavailable(fault: &Fault) -> Status {
    errors::status(
        Code::Unavailable,
        fault.code(),
        "the coordinator's storage failed; it stops and must be looked at",
    )
}

/// The member at the other end, whom the channel has attested.
fn caller<T>(request: &Request<T>) -> Result<(OrganisationId, Arc<VerifiedPeer>), Status> {
    let unattested = || {
        errors::status(
            Code::Unauthenticated,
            "not_attested",
            "this port serves attested members only",
        )
    };
    let peer = request
        .extensions()
        .get::<Arc<VerifiedPeer>>()
        .ok_or_else(unattested)?;
    let name = OrganisationId::new(peer.organisation()).map_err(|_| unattested())?;
    Ok((name, peer.clone()))
}
