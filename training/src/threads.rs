//! A batch's chunks, spread over the cores.

use std::num::NonZeroUsize;
use std::{panic, thread};

/// How many threads work.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Has each core work on its share of the chunks, in order; gives one part for each share, at least one.
pub(crate) fn over_chunks<C: Sync, P: Send>(
    chunks: &[C],
    work: impl Fn(&[C]) -> P + Sync,
) -> Vec<P> {
    let cores = cores();
    if cores == 1 || chunks.len() < 2 {
        return vec![work(chunks)];
    }
    let mut shares = chunks.chunks(chunks.len().div_ceil(cores));
    let mine = shares.next().expect("there are two chunks");
    thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = shares
            .map(|share| scope.spawn(move || work(share)))
            .collect();
        let first = work(mine);
        let join = |thread: thread::ScopedJoinHandle<'_, P>| {
            thread
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
        };
        [first]
            .into_iter()
            .chain(others.into_iter().map(join))
            .collect()
    })
}
