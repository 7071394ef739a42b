//! The files of roots, revocation lists and collateral, looked after while a daemon runs: what Intel says of its platforms lasts for 30 days.

use std::path::PathBuf;

use consort_aggregation::{Canonical, Digest};

use crate::config;

/// Looks of the manifest's watch between two looks at these files: five seconds. A look reads and hashes some tens of kilobytes.
const LOOKS: u32 = 25;

/// What was seen of the files, and what was taken of it.
pub(crate) struct RootsWatch {
    files: Vec<PathBuf>,
    looks: u32,
    /// Nothing where a file could not be read.
    seen: Option<Digest>,
    taken: Option<Digest>,
}

impl RootsWatch {
    /// The files as they are now, which are in use.
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        let now = content(&files);
        Self {
            files,
            looks: 0,
            seen: now,
            taken: now,
        }
    }

    /// The files.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether all files can be read, are not what was taken last, and were the same at the look before. What is told here is told once: it
    /// is taken, or it cannot be used until somebody changes it.
    pub(crate) fn has_changed(&mut self) -> bool {
        self.looks += 1;
        if self.looks < LOOKS {
            return false;
        }
        self.looks = 0;
        let now = content(&self.files);
        let settled = now == std::mem::replace(&mut self.seen, now);
        if !settled || now.is_none() || now == self.taken {
            return false;
        }
        self.taken = now;
        true
    }
}

/// A hash over all files, each in its place.
fn content(files: &[PathBuf]) -> Option<Digest> {
    let mut all = Canonical::new("consort/trust-files/v1");
    for path in files {
        all = all.bytes(&config::read_bytes(path).ok()?);
    }
    Some(all.hash())
}
