//! From masked updates to a model: the sum over the survivors and the server step.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use consort_aggregation::{
    Accumulator, AggregateSum, ChunkSum, ChunkTree, Digest, MemberIndex, VectorSchema,
};
use consort_contract::{Job, JobId};
use consort_model::{OptimizerState, StepError};
use consort_proto::convert::AttemptKey;
use consort_round::coordinator::Opening;
use consort_storage::{BlobError, BlobKey, BlobStore, InvalidName};

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
/// Chunk after chunk, every survivor's is read, hashed and added while that chunk's sum stays in a cache; workers take the next
/// chunk that nobody has. Beside the one accumulator each worker holds one chunk and its sum, and one file open at a time,
/// whatever the number of members; 32 bytes are kept of every chunk that was read.
///
/// # Errors
/// [`SumError`].
///
/// # Panics
/// When the operating system has no thread to give.
pub fn open_sum(
    opening: &Opening,
    attempt: &AttemptKey,
    schema: VectorSchema,
    blobs: &dyn BlobStore,
    workers: NonZeroUsize,
) -> Result<AggregateSum, SumError> {
    let mut updates = Vec::with_capacity(opening.tree_hashes.len());
    for member in opening.tree_hashes.keys() {
        let key = update_key(attempt, *member).map_err(|_| SumError::NotSealed(*member))?;
        if blobs.length(&key)? != Some(schema.packed_len()) {
            return Err(SumError::NotSealed(*member));
        }
        updates.push((*member, key));
    }
    let adding = Adding {
        updates,
        schema,
        blobs,
        next_chunk: AtomicU64::new(0),
        done: Mutex::new(Done {
            sum: Accumulator::new_with(schema, workers),
            leaves: BTreeMap::new(),
        }),
    };
    adding.work(workers)?;
    let Done { mut sum, leaves } = adding
        .done
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    for (place, (member, sealed)) in opening.tree_hashes.iter().enumerate() {
        let mut tree = ChunkTree::new();
        for of_chunk in leaves.values() {
            tree.push_leaf(of_chunk[place]);
        }
        // What was added of a wrong update goes with the accumulator.
        if tree.root() != *sealed {
            return Err(SumError::NotSealed(*member));
        }
    }
    sum.subtract_masks_with(&opening.masks, workers);
    Ok(sum.finish_with(workers))
}

/// The survivors' updates on their way into the sum.
struct Adding<'a> {
    updates: Vec<(MemberIndex, BlobKey)>,
    schema: VectorSchema,
    blobs: &'a dyn BlobStore,
    next_chunk: AtomicU64,
    done: Mutex<Done>,
}

struct Done {
    sum: Accumulator,
    /// By chunk: the leaf of each survivor's, in order.
    leaves: BTreeMap<u64, Vec<Digest>>,
}

impl Adding<'_> {
    /// By so many threads, this one included. An error of any of them ends the others at their next chunk.
    fn work(&self, workers: NonZeroUsize) -> Result<(), SumError> {
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..workers.get())
                .map(|_| scope.spawn(|| self.add_chunks()))
                .collect();
            let mut worked = self.add_chunks();
            for other in others {
                let other = other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                worked = worked.and(other);
            }
            worked
        })
    }

    fn add_chunks(&self) -> Result<(), SumError> {
        let mut sum = ChunkSum::new(self.schema);
        loop {
            let index = self.next_chunk.fetch_add(1, Ordering::Relaxed);
            if !sum.begin(index) {
                return Ok(());
            }
            match self.add_chunk(&mut sum) {
                Ok(leaves) => {
                    let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.sum.add_chunk_sum(&sum);
                    done.leaves.insert(index, leaves);
                }
                Err(error) => {
                    // No vector has so many chunks.
                    self.next_chunk.store(u64::MAX / 2, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }

    /// One chunk of every survivor; gives their leaves.
    fn add_chunk(&self, sum: &mut ChunkSum) -> Result<Vec<Digest>, SumError> {
        let mut leaves = Vec::with_capacity(self.updates.len());
        for (member, key) in &self.updates {
            let first_byte = sum.first_byte();
            match self.blobs.read_at(key, first_byte, sum.chunk()) {
                Ok(()) => {}
                Err(BlobError::Missing { .. }) => return Err(SumError::NotSealed(*member)),
                Err(error) => return Err(error.into()),
            }
            leaves.push(ChunkTree::leaf(sum.chunk()));
            sum.add().map_err(|_| SumError::NotSealed(*member))?;
        }
        Ok(leaves)
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
    workers: NonZeroUsize,
) -> Result<(OptimizerState, Option<f64>), StepError> {
    let job = (&attempt.job, &contract.job);
    contract.plan.advance(
        job,
        attempt.round.0,
        state,
        sum.values(),
        survivors,
        workers,
    )
}

/// The hash of what a round of the job announces when it begins with this state.
pub fn model_digest(job: &Job, state: &OptimizerState) -> Digest {
    Digest::new(*job.announced(state).hash().as_bytes())
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
