//! The entries file, line by line, with a bound on what one line may cost.

use std::io::{self, BufRead, Read};

/// Largest entry in bytes: a list of 1000 survivors with names of 250 bytes, fourfold.
pub const MAX_ENTRY_BYTES: usize = 1024 * 1024;

/// What stands in the file at one place.
pub(crate) enum Entry {
    /// A line, without its newline.
    Whole(Vec<u8>),
    /// What is left before the end of the file, or before a line gets too long, without a newline.
    Torn,
}

/// Reads the next entry; none at the end of the file.
pub(crate) fn next_entry(reader: &mut impl BufRead) -> io::Result<Option<Entry>> {
    let mut line = Vec::new();
    reader
        .take(MAX_ENTRY_BYTES as u64 + 1)
        .read_until(b'\n', &mut line)?;
    Ok(match line.pop() {
        None => None,
        Some(b'\n') => Some(Entry::Whole(line)),
        Some(_) => Some(Entry::Torn),
    })
}
