//! P4 on the wire: the attempt, chunks in order, the seal. Nothing counts before every chunk is on disk and hashes to the seal.

use std::sync::Arc;

use consort_aggregation::{CHUNK_BYTES, ChunkTree, VectorSchema};
use consort_contract::OrganisationId;
use consort_daemon::errors;
use consort_proto::convert::{attempt_from_wire, seal_from_wire};
use consort_proto::wire::round::v1 as wire;
use consort_proto::wire::round::v1::submit_update_request::Part;
use consort_round::{MemberMessage, UpdateSeal};
use consort_storage::{BlobError, BlobWriter};
use tonic::{Code, Status, Streaming};

use super::{status, unavailable};
use crate::driver::{Answer, Command, Desk, Upload};
use crate::error::{Fault, Refusal, RefusalKind};
use crate::release;

/// Receives one update.
pub(super) async fn receive(
    desk: &Arc<Desk>,
    from: &OrganisationId,
    mut parts: Streaming<wire::SubmitUpdateRequest>,
) -> Result<(), Status> {
    let Some(Part::Id(id)) = next(&mut parts).await? else {
        return Err(out_of_order());
    };
    let key = attempt_from_wire(Some(id)).map_err(|error| status(&error.into()))?;
    let begin = Command::BeginUpload {
        from: from.clone(),
        key: key.clone(),
    };
    let answer = desk
        .ask(&key.job, begin)
        .await
        .map_err(|refusal| status(&refusal))?;
    let Answer::Upload(upload) = answer else {
        return Err(out_of_order());
    };
    let mut incoming = Incoming::begin(desk, &upload).await?;
    let seal = loop {
        match next(&mut parts).await? {
            Some(Part::Chunk(chunk)) => incoming = incoming.take(desk, chunk).await?,
            Some(Part::Seal(seal)) => {
                break seal_from_wire(&seal).map_err(|error| status(&error.into()))?;
            }
            Some(Part::Id(_)) | None => return Err(out_of_order()),
        }
    };
    incoming.finish(desk, upload, &seal).await?;
    let message = Command::Message {
        from: from.clone(),
        key: key.clone(),
        message: Box::new(MemberMessage::Seal(seal)),
    };
    desk.ask(&key.job, message)
        .await
        .map(drop)
        .map_err(|refusal| status(&refusal))
}

/// The checks on an update's form, chunk by chunk.
struct Form {
    schema: VectorSchema,
    tree: ChunkTree,
    bytes: u64,
    last: u8,
}

/// An update that is arriving. The writer is absent when a finished update of this attempt is there already.
struct Incoming {
    form: Form,
    writer: Option<Box<dyn BlobWriter>>,
}

impl Incoming {
    async fn begin(desk: &Arc<Desk>, upload: &Upload) -> Result<Self, Status> {
        let (blobs, blob) = (desk.services().blobs.clone(), upload.blob.clone());
        let writer = match blocking(move || blobs.begin(&blob)).await? {
            Ok(writer) => Some(writer),
            Err(BlobError::Exists { .. }) => None,
            Err(error) => return Err(failed(desk, error)),
        };
        Ok(Self {
            form: Form {
                schema: upload.schema,
                tree: ChunkTree::new(),
                bytes: 0,
                last: 0,
            },
            writer,
        })
    }

    async fn take(mut self, desk: &Arc<Desk>, chunk: wire::MaskedChunk) -> Result<Self, Status> {
        self.form.take(&chunk).map_err(|refusal| status(&refusal))?;
        if let Some(mut writer) = self.writer.take() {
            let written = blocking(move || writer.write(&chunk.data).map(|_| writer)).await?;
            self.writer = Some(written.map_err(|error| failed(desk, error))?);
        }
        Ok(self)
    }

    /// Makes the chunks durable if they are what the seal says.
    async fn finish(
        self,
        desk: &Arc<Desk>,
        upload: Upload,
        seal: &UpdateSeal,
    ) -> Result<(), Status> {
        self.form.check(seal).map_err(|refusal| status(&refusal))?;
        let taken = match self.writer {
            None => true,
            Some(writer) => match blocking(move || writer.finish()).await? {
                Ok(_) => false,
                Err(BlobError::Exists { .. }) => true,
                Err(error) => return Err(failed(desk, error)),
            },
        };
        if !taken {
            return Ok(());
        }
        // Another stream of this member finished first: only the same update is a repeat.
        let (blobs, limit) = (desk.services().blobs.clone(), upload.schema.packed_len());
        let stored = blocking(move || blobs.read(&upload.blob, limit))
            .await?
            .map_err(|error| failed(desk, error))?;
        if release::tree_hash(&stored) == seal.tree_hash {
            return Ok(());
        }
        let message = "another update of this attempt is stored; a member has one";
        Err(status(&Refusal::new(
            RefusalKind::Conflict,
            "update_second",
            message,
        )))
    }
}

impl Form {
    fn take(&mut self, chunk: &wire::MaskedChunk) -> Result<(), Refusal> {
        let wrong =
            |message: &str| Err(Refusal::new(RefusalKind::Invalid, "update_chunk", message));
        if u64::from(chunk.index) != self.tree.chunks() {
            return wrong("chunks come in order, from 0, without gaps");
        }
        let left = self.schema.packed_len() - self.bytes;
        let due = left.min(CHUNK_BYTES as u64);
        if due == 0 || chunk.data.len() as u64 != due {
            return wrong("a chunk has 256 KiB, the last one what is left of the vector");
        }
        self.tree.push(&chunk.data);
        self.bytes += due;
        self.last = chunk.data.last().copied().unwrap_or_default();
        Ok(())
    }

    fn check(&self, seal: &UpdateSeal) -> Result<(), Refusal> {
        let wrong = |code, message: &str| Err(Refusal::new(RefusalKind::Invalid, code, message));
        if self.bytes != self.schema.packed_len() {
            return wrong(
                "update_length",
                "the update ends before the vector of the contract does",
            );
        }
        let used = self.schema.elements() * u64::from(self.schema.width().bits()) % 8;
        if used != 0 && self.last >> used != 0 {
            return wrong(
                "update_unused_bits",
                "the unused bits of the last byte must be zero",
            );
        }
        // Rule C6.
        if self.tree.root() != seal.tree_hash {
            return wrong(
                "update_tree_hash",
                "the chunks do not hash to what the seal says",
            );
        }
        Ok(())
    }
}

async fn next(parts: &mut Streaming<wire::SubmitUpdateRequest>) -> Result<Option<Part>, Status> {
    Ok(parts.message().await?.and_then(|message| message.part))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Status::internal(error.to_string()))
}

fn failed(desk: &Desk, error: BlobError) -> Status {
    let fault = Fault::from(error);
    let status = unavailable(&fault);
    desk.fail(fault);
    status
}

fn out_of_order() -> Status {
    errors::status(
        Code::InvalidArgument,
        "update_order",
        "an upload is the attempt, then the chunks, then the seal",
    )
}

#[cfg(test)]
mod tests {
    use consort_aggregation::Width;
    use consort_contract::Signature;

    use super::*;

    fn form() -> Form {
        let schema = VectorSchema::new(3, Width::new(7).unwrap()).unwrap();
        Form {
            schema,
            tree: ChunkTree::new(),
            bytes: 0,
            last: 0,
        }
    }

    fn chunk(index: u32, data: &[u8]) -> wire::MaskedChunk {
        wire::MaskedChunk {
            index,
            data: data.to_vec(),
        }
    }

    fn seal_of(data: &[u8]) -> UpdateSeal {
        let member = consort_aggregation::MemberIndex::new(1).unwrap();
        UpdateSeal {
            member,
            tree_hash: release::tree_hash(data),
            signature: Signature([0; 64]),
        }
    }

    /// Obeys C6. Breaks C6.
    #[test]
    fn an_update_that_hashes_to_its_seal_is_taken_and_any_other_is_refused() {
        let data = [1, 2, 3];
        let mut whole = form();
        whole.take(&chunk(0, &data)).unwrap();
        assert!(whole.check(&seal_of(&data)).is_ok());
        assert_eq!(
            whole.check(&seal_of(&[1, 2, 4])).unwrap_err().code,
            "update_tree_hash"
        );
        assert_eq!(
            form().check(&seal_of(&data)).unwrap_err().code,
            "update_length"
        );
    }

    #[test]
    fn chunks_out_of_order_of_another_length_or_with_unused_bits_are_refused() {
        assert_eq!(
            form().take(&chunk(1, &[1, 2, 3])).unwrap_err().code,
            "update_chunk"
        );
        assert_eq!(
            form().take(&chunk(0, &[1, 2])).unwrap_err().code,
            "update_chunk"
        );
        assert_eq!(
            form().take(&chunk(0, &[1, 2, 3, 4])).unwrap_err().code,
            "update_chunk"
        );
        let mut padded = form();
        padded.take(&chunk(0, &[1, 2, 0x80])).unwrap();
        assert_eq!(
            padded.check(&seal_of(&[1, 2, 0x80])).unwrap_err().code,
            "update_unused_bits"
        );
    }
}
