//! The four things done with a report entry of configfs, and the kernel's own way of doing them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// Entries of the kernel's report folder, by name.
pub(super) trait Entries: Send + Sync {
    /// The entry's path, for messages.
    fn path(&self, entry: &str) -> PathBuf;
    /// Makes an entry, whose attributes the kernel then shows.
    fn make(&self, entry: &str) -> io::Result<()>;
    /// Writes an attribute in one piece.
    fn write(&self, entry: &str, attribute: &str, bytes: &[u8]) -> io::Result<()>;
    /// Reads an attribute of at most so many bytes; a longer one is [`io::ErrorKind::FileTooLarge`].
    fn read(&self, entry: &str, attribute: &str, most: usize) -> io::Result<Vec<u8>>;
    /// Removes an entry.
    fn remove(&self, entry: &str) -> io::Result<()>;
}

/// configfs as the kernel mounts it.
pub(super) struct Configfs {
    pub(super) folder: PathBuf,
}

impl Entries for Configfs {
    fn path(&self, entry: &str) -> PathBuf {
        self.folder.join(entry)
    }

    fn make(&self, entry: &str) -> io::Result<()> {
        fs::create_dir(self.path(entry))
    }

    fn write(&self, entry: &str, attribute: &str, bytes: &[u8]) -> io::Result<()> {
        // Neither created nor truncated: the attribute is the kernel's. It takes a binary attribute when the file is closed, and
        // what it says to that nobody hears: the generation tells whether it was taken.
        OpenOptions::new()
            .write(true)
            .open(self.path(entry).join(attribute))?
            .write_all(bytes)
    }

    fn read(&self, entry: &str, attribute: &str, most: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.path(entry).join(attribute))?;
        let mut bytes = Vec::new();
        let one_more = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        file.take(one_more).read_to_end(&mut bytes)?;
        if bytes.len() > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn remove(&self, entry: &str) -> io::Result<()> {
        fs::remove_dir(self.path(entry))
    }
}
