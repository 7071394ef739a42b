//! P4 on the wire: the attempt, chunks in order, the seal; and how far an upload is, for who was cut.
//!
//! One chunk of a stream is in memory at a time: the next one is read from the connection when the one before is stored, so a slow
//! disk slows the sender by HTTP/2's flow control and fills nothing here.

use std::sync::Arc;

use consort_contract::OrganisationId;
use consort_proto::convert::{AttemptKey, attempt_from_wire, seal_from_wire};
use consort_proto::errors;
use consort_proto::wire::round::v1 as wire;
use consort_proto::wire::round::v1::submit_update_request::Part;
use consort_round::{MemberMessage, UpdateSeal};
use tonic::{Code, Status, Streaming};

use super::{status, unavailable};
use crate::driver::{Answer, Command, Desk};
use crate::error::{Fault, Refusal, RefusalKind};
use crate::spool::{Upload, UploadError};

/// Receives one update, or the part of it that one stream carries.
pub(super) async fn receive(
    desk: &Arc<Desk>,
    from: &OrganisationId,
    mut parts: Streaming<wire::SubmitUpdateRequest>,
) -> Result<(), Status> {
    let Some(Part::Id(id)) = next(&mut parts).await? else {
        return Err(out_of_order());
    };
    let key = attempt_from_wire(Some(id)).map_err(|error| status(&error.into()))?;
    let (upload, _) = find(desk, from, &key).await?;
    let seal = loop {
        match next(&mut parts).await? {
            Some(Part::Chunk(chunk)) => {
                let upload = upload.clone();
                let taken = blocking(move || upload.chunk(chunk.index.into(), &chunk.data)).await?;
                if let Err(error) = taken {
                    return Err(not_taken(desk, from, &key, error, None).await);
                }
            }
            Some(Part::Seal(seal)) => {
                break seal_from_wire(&seal).map_err(|error| status(&error.into()))?;
            }
            Some(Part::Id(_)) => return Err(out_of_order()),
            None => return Err(unsealed()),
        }
    };
    finish(desk, from, key, &upload, seal).await
}

/// How far the caller's update is.
pub(super) async fn progress(
    desk: &Arc<Desk>,
    from: &OrganisationId,
    request: wire::UploadStatusRequest,
) -> Result<wire::UploadStatusResponse, Status> {
    let key = attempt_from_wire(request.id).map_err(|error| status(&error.into()))?;
    let (upload, sealed) = find(desk, from, &key).await?;
    match blocking(move || upload.progress()).await? {
        Ok(progress) => Ok(wire::UploadStatusResponse {
            next_chunk: u32::try_from(progress.next_chunk).unwrap_or(u32::MAX),
            sealed,
            bytes_left: progress.bytes_left,
        }),
        Err(error) => Err(not_taken(desk, from, &key, error, None).await),
    }
}

async fn finish(
    desk: &Arc<Desk>,
    from: &OrganisationId,
    key: AttemptKey,
    upload: &Arc<Upload>,
    seal: UpdateSeal,
) -> Result<(), Status> {
    let (upload, tree_hash) = (upload.clone(), seal.tree_hash);
    if let Err(error) = blocking(move || upload.seal(&tree_hash)).await? {
        return Err(not_taken(desk, from, &key, error, Some(seal)).await);
    }
    let job = key.job.clone();
    let message = Command::Message {
        from: from.clone(),
        key,
        message: Box::new(MemberMessage::Seal(seal)),
    };
    let answer = desk.ask(&job, message).await;
    answer.map(drop).map_err(|refusal| status(&refusal))
}

async fn find(
    desk: &Arc<Desk>,
    from: &OrganisationId,
    key: &AttemptKey,
) -> Result<(Arc<Upload>, bool), Status> {
    let ask = Command::Upload {
        from: from.clone(),
        key: key.clone(),
    };
    let answer = desk.ask(&key.job, ask).await;
    match answer.map_err(|refusal| status(&refusal))? {
        Answer::Upload { upload, sealed } => Ok((upload, sealed)),
        Answer::Stored | Answer::Model(_) => Err(out_of_order()),
    }
}

/// Says why, and has it kept by name where it is the member's fault.
async fn not_taken(
    desk: &Arc<Desk>,
    from: &OrganisationId,
    key: &AttemptKey,
    error: UploadError,
    seal: Option<UpdateSeal>,
) -> Status {
    match error {
        UploadError::Refused(refusal) => {
            let said = status(&refusal);
            let command = Command::UploadRefused {
                from: from.clone(),
                key: key.clone(),
                refusal,
                seal: seal.map(Box::new),
            };
            // Its answer is the same refusal; a job that has ended keeps nothing more.
            let _ = desk.ask(&key.job, command).await;
            said
        }
        UploadError::Fault(error) => {
            let fault = Fault::from(error);
            let said = unavailable(&fault);
            desk.fail(fault);
            said
        }
    }
}

async fn next(parts: &mut Streaming<wire::SubmitUpdateRequest>) -> Result<Option<Part>, Status> {
    let Some(message) = parts.message().await? else {
        return Ok(None);
    };
    message.part.map(Some).ok_or_else(out_of_order)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Status::internal(error.to_string()))
}

fn out_of_order() -> Status {
    errors::status(
        Code::InvalidArgument,
        "update_order",
        "an upload is the attempt, then the chunks, then the seal",
    )
}

/// A stream that ended early is no offence, and counts for nothing: its chunks wait for the rest until the round goes on.
fn unsealed() -> Status {
    status(&Refusal::new(
        RefusalKind::NotNow,
        "update_unsealed",
        "the stream ended before the seal; ask UploadStatus where to go on",
    ))
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
