//! P4 on the wire: the chunks of a masked update, from where the coordinator has them, then the seal.
//!
//! The chunks are sent from where the frozen update lies; a chunk is copied when the connection has room for it, and no sooner.

use std::sync::Arc;
use std::time::Duration;

use consort_aggregation::MaskedUpdate;
use consort_daemon::crash::CrashPoints;
use consort_proto::convert::{AttemptKey, attempt_to_wire, seal_to_wire};
use consort_proto::wire::round::v1 as wire;
use consort_round::UpdateSeal;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;
use wire::round_service_client::RoundServiceClient;
use wire::submit_update_request::Part;

/// Chunks of 256 KiB that wait for the connection. They are not copied yet.
const CHUNKS_WAITING: usize = 4;

/// How long the first part of an upload gets to reach the coordinator before a crash point in mid-upload.
const CRASH_LEAD: Duration = Duration::from_millis(200);

/// Sends what the coordinator has not; returns the bytes of chunks that were sent. Only an update that was sent before, in whole
/// or in part, costs a question first.
pub(super) async fn send(
    mut service: RoundServiceClient<Channel>,
    key: &AttemptKey,
    update: &Arc<MaskedUpdate>,
    seal: &UpdateSeal,
    again: bool,
    crash: &CrashPoints,
) -> Result<u64, Status> {
    let first_chunk = if again {
        let id = Some(attempt_to_wire(key));
        let status = service
            .upload_status(wire::UploadStatusRequest { id })
            .await?;
        let status = status.into_inner();
        if status.sealed {
            return Ok(0);
        }
        status.next_chunk
    } else {
        0
    };
    let (parts, body) = mpsc::channel(CHUNKS_WAITING);
    let feed = feed(key, update, seal, first_chunk, crash, parts);
    let call = service.submit_update(ReceiverStream::new(body));
    let (sent, answer) = tokio::join!(feed, call);
    answer.map(|_| sent)
}

/// Feeds the parts of an upload: which attempt, the chunks, the seal. Ends early when the call ended, which says itself why.
async fn feed(
    key: &AttemptKey,
    update: &Arc<MaskedUpdate>,
    seal: &UpdateSeal,
    first_chunk: u32,
    crash: &CrashPoints,
    parts: mpsc::Sender<wire::SubmitUpdateRequest>,
) -> u64 {
    let round = key.round.0;
    let dies_here = crash
        .armed()
        .any(|at| at.ends_with(&format!(" mid-upload@{round}")));
    let send = async |part| {
        let part = wire::SubmitUpdateRequest { part: Some(part) };
        parts.send(part).await
    };
    let mut sent = 0_u64;
    if send(Part::Id(attempt_to_wire(key))).await.is_err() {
        return sent;
    }
    for (index, data) in chunks_from(update, first_chunk) {
        let bytes = data.len() as u64;
        if send(Part::Chunk(wire::MaskedChunk { index, data }))
            .await
            .is_err()
        {
            return sent;
        }
        sent = sent.saturating_add(bytes);
        if dies_here {
            tokio::time::sleep(CRASH_LEAD).await;
            crash.reached("mid-upload", round);
        }
    }
    let _ = send(Part::Seal(seal_to_wire(seal))).await;
    sent
}

/// The chunks from this one on, which share the bytes of the update.
fn chunks_from(
    update: &Arc<MaskedUpdate>,
    first: u32,
) -> impl Iterator<Item = (u32, Bytes)> + use<> {
    let update = Arc::clone(update);
    (first..).map_while(move |index| {
        let chunk = ChunkOf {
            update: Arc::clone(&update),
            index: usize::try_from(index).ok()?,
        };
        chunk.bytes()?;
        Some((index, Bytes::from_owner(chunk)))
    })
}

/// One chunk of an update that lives for as long as the chunk is needed.
struct ChunkOf {
    update: Arc<MaskedUpdate>,
    index: usize,
}

impl ChunkOf {
    fn bytes(&self) -> Option<&[u8]> {
        self.update.chunk(self.index)
    }
}

impl AsRef<[u8]> for ChunkOf {
    fn as_ref(&self) -> &[u8] {
        self.bytes().unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
