//! From masked updates to a model: the sum over the survivors, the server step, and the file that is handed over.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;

use consort_aggregation::{
    Accumulator, AggregateSum, CHUNK_BYTES, ChunkTree, Digest, MemberIndex, VectorSchema,
};
use consort_contract::{Job, JobId};
use consort_model::{OptimizerState, StepError};
use consort_proto::convert::AttemptKey;
use consort_round::coordinator::Opening;
use consort_storage::{BlobError, BlobKey, BlobStore, InvalidName};
use safetensors::tensor::{Dtype, TensorView};

use crate::jobs::Contract;

/// Where a member's masked update lies.
///
/// # Errors
/// [`InvalidName`] never happens: jobs have names that are blob keys.
pub fn update_key(attempt: &AttemptKey, member: MemberIndex) -> Result<BlobKey, InvalidName> {
    BlobKey::new(format!("{}{}", updates_of(attempt), member.get()))
}

/// The prefix of an attempt's updates.
pub fn updates_of(attempt: &AttemptKey) -> String {
    format!(
        "{}{}/{}/",
        updates_of_job(&attempt.job),
        attempt.round.0,
        attempt.attempt.0
    )
}

/// The prefix of a job's updates.
pub fn updates_of_job(job: &JobId) -> String {
    format!("updates/{job}/")
}

/// Why a sum could not be made of what is stored.
#[derive(Debug, thiserror::Error)]
pub enum SumError {
    /// What is stored is not what the member sealed.
    #[error("the stored update of member {0} is not the one that was sealed")]
    NotSealed(MemberIndex),
    /// The disk failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Adds up the survivors' masked updates and takes the masks away by so many threads. Nothing is opened that does not hash to its seal.
///
/// Updates are read piece by piece: beside the one accumulator there is one buffer, whatever the number of members.
///
/// # Errors
/// [`SumError`].
pub fn open_sum(
    opening: &Opening,
    attempt: &AttemptKey,
    schema: VectorSchema,
    blobs: &dyn BlobStore,
    workers: NonZeroUsize,
) -> Result<AggregateSum, SumError> {
    let mut sum = Accumulator::new(schema);
    for (member, sealed) in &opening.tree_hashes {
        let not_sealed = || SumError::NotSealed(*member);
        let key = update_key(attempt, *member).map_err(|_| not_sealed())?;
        let mut addend = Addend::new(&mut sum, schema);
        let bytes = match blobs.read_pieces(&key, CHUNK_BYTES, &mut |chunk| addend.take(chunk)) {
            Ok(bytes) => bytes,
            Err(BlobError::Missing { .. }) => return Err(not_sealed()),
            Err(error) => return Err(error.into()),
        };
        // What was added of a wrong update goes with the accumulator.
        if bytes != schema.packed_len() || addend.root() != Some(*sealed) {
            return Err(not_sealed());
        }
    }
    sum.subtract_masks_with(&opening.masks, workers);
    Ok(sum.finish())
}

/// One update on its way into the sum: hashed by its chunks, added by ranges that end with a byte.
struct Addend<'a> {
    sum: &'a mut Accumulator,
    schema: VectorSchema,
    tree: ChunkTree,
    /// Bytes of the newest chunk that do not fill eight elements yet stand before those of the next: fewer than w of them.
    waiting: Vec<u8>,
    first_element: u64,
    fits: bool,
}

impl<'a> Addend<'a> {
    fn new(sum: &'a mut Accumulator, schema: VectorSchema) -> Self {
        Self {
            sum,
            schema,
            tree: ChunkTree::new(),
            waiting: Vec::with_capacity(CHUNK_BYTES + usize::from(schema.width().bits())),
            first_element: 0,
            fits: true,
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        self.tree.push(chunk);
        self.waiting.extend_from_slice(chunk);
        // Eight elements of w bits are w bytes.
        let bytes_of_eight = usize::from(self.schema.width().bits());
        let rest = self.schema.elements().saturating_sub(self.first_element);
        let last = self.waiting.len() as u64 == self.schema.width().packed_len(rest);
        let ready = if last {
            self.waiting.len()
        } else {
            self.waiting.len() / bytes_of_eight * bytes_of_eight
        };
        let range = &self.waiting[..ready];
        self.fits &=
            range.is_empty() || self.sum.add_packed_range(self.first_element, range).is_ok();
        let elements = if last {
            rest
        } else {
            (ready / bytes_of_eight) as u64 * 8
        };
        self.first_element = self.first_element.saturating_add(elements);
        self.waiting.drain(..ready);
    }

    /// The tree hash of what was added, if it is a vector of the schema.
    fn root(&self) -> Option<Digest> {
        (self.fits && self.waiting.is_empty()).then(|| self.tree.root())
    }
}

/// The server step on an opened sum over this many survivors, and the loss that the last element tells.
///
/// # Errors
/// [`StepError`] when the training has diverged.
pub fn step(
    state: &OptimizerState,
    attempt: &AttemptKey,
    contract: &Contract,
    sum: &AggregateSum,
    survivors: u32,
) -> Result<(OptimizerState, Option<f64>), StepError> {
    let job = (&attempt.job, &contract.job);
    contract
        .plan
        .advance(job, attempt.round.0, state, sum.values(), survivors)
}

/// The hash of a model as rounds announce it.
pub fn model_digest(state: &OptimizerState) -> Digest {
    Digest::new(*state.parameters().hash().as_bytes())
}

/// The released file: parameters by the names of the layout, f32, little-endian.
///
/// # Errors
/// A text when the format cannot hold the model.
pub fn safetensors(
    job: &Job,
    state: &OptimizerState,
    metadata: BTreeMap<String, String>,
) -> Result<Vec<u8>, String> {
    let bytes = state.parameters().to_le_bytes();
    let layout = job.model().layout();
    let mut tensors = Vec::new();
    for tensor in layout.tensors() {
        let range = tensor.range();
        let data = &bytes[4 * range.start..4 * range.end];
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), data)
            .map_err(|error| error.to_string())?;
        tensors.push((tensor.name.clone(), view));
    }
    // The format's library takes no other map; the file is written once and then only read.
    let metadata: HashMap<_, _> = metadata.into_iter().collect();
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| error.to_string())
}
