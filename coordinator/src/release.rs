//! From masked updates to a model: the sum over the survivors, the server step, and the file that is handed over.

use std::collections::{BTreeMap, HashMap};

use consort_aggregation::{
    Accumulator, AggregateSum, CHUNK_BYTES, ChunkTree, Digest, MemberIndex, VectorSchema,
};
use consort_contract::{Job, Plan};
use consort_model::{OptimizerState, StepError};
use consort_proto::convert::AttemptKey;
use consort_round::coordinator::Opening;
use consort_storage::{BlobError, BlobKey, BlobStore, InvalidName};
use safetensors::tensor::{Dtype, TensorView};

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
        "updates/{}/{}/{}/",
        attempt.job, attempt.round.0, attempt.attempt.0
    )
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

/// Adds up the survivors' masked updates and takes the masks away. Nothing is added that does not hash to its seal.
///
/// # Errors
/// [`SumError`].
pub fn open_sum(
    opening: &Opening,
    attempt: &AttemptKey,
    schema: VectorSchema,
    blobs: &dyn BlobStore,
) -> Result<AggregateSum, SumError> {
    let mut sum = Accumulator::new(schema);
    for (member, sealed) in &opening.tree_hashes {
        let not_sealed = || SumError::NotSealed(*member);
        let key = update_key(attempt, *member).map_err(|_| not_sealed())?;
        let bytes = match blobs.read(&key, schema.packed_len()) {
            Ok(bytes) => bytes,
            Err(BlobError::Missing { .. } | BlobError::TooLarge { .. }) => return Err(not_sealed()),
            Err(error) => return Err(error.into()),
        };
        if tree_hash(&bytes) != *sealed {
            return Err(not_sealed());
        }
        sum.add_packed(&bytes).map_err(|_| not_sealed())?;
    }
    sum.subtract_masks(&opening.masks);
    Ok(sum.finish())
}

/// The tree hash over a whole update.
pub fn tree_hash(bytes: &[u8]) -> Digest {
    let mut tree = ChunkTree::new();
    bytes.chunks(CHUNK_BYTES).for_each(|chunk| tree.push(chunk));
    tree.root()
}

/// The server step on an opened sum, and the loss that the last element tells.
///
/// # Errors
/// [`StepError`] when the training has diverged.
pub fn step(
    state: &OptimizerState,
    job: &Job,
    plan: &Plan,
    sum: &AggregateSum,
) -> Result<(OptimizerState, Option<f64>), StepError> {
    let (loss, gradient) = sum
        .values()
        .split_last()
        .expect("a schema has the loss element at least");
    Ok((
        state.step(plan.step(), gradient)?,
        plan.noised_loss(job, *loss),
    ))
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
