//! Work on disjoint parts of one vector: by as many threads as the caller asks for, inside one call.
//!
//! The parts are computed from the length and the number of workers alone and no result depends on them, so that the
//! number of workers changes no bit.

use crate::prg::PIECES_ELEMENTS;
use std::num::NonZeroUsize;

/// Parts begin at multiples of this many elements: whole bytes of packed elements of every width, and whole pieces of
/// masks.
pub(crate) const PART_ALIGNMENT: usize = PIECES_ELEMENTS;

/// The elements of each part but the last when a vector is divided among workers.
pub(crate) fn part_elements(elements: usize, workers: NonZeroUsize) -> usize {
    elements
        .div_ceil(workers.get())
        .max(1)
        .next_multiple_of(PART_ALIGNMENT)
}

/// Works on every part at the same time: on the last one in the caller's thread, on each other one in a thread of its own.
///
/// # Panics
/// When the operating system has no thread to give.
pub(crate) fn on_each<T: Send>(parts: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    let mut parts: Vec<T> = parts.into_iter().collect();
    let last = parts.pop();
    std::thread::scope(|scope| {
        for part in parts {
            scope.spawn(|| work(part));
        }
        last.map(&work);
    });
}
