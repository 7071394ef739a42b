//! A spool as two local files: the frames, one after the other, and beside them a record for each: its length and its mark.
//!
//! The records are what makes the frames trustworthy after a power cut: neither file needs to reach the disk before the other,
//! because a frame counts only if it hashes to its record.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::{FINISHED, Place, remove_empty_folders, sync_folder, sync_parent};
use crate::blob::{BlobError, BlobKey, BlobSpool, MARK_BYTES, MAX_FRAME_BYTES, Mark};
use crate::error::{StoreFault, io_fault};

/// Ends the name of the file of records. No key holds it.
pub(super) const MARKS: &str = "~marks";

/// A frame's length, little-endian, and its mark.
const RECORD_BYTES: usize = 4 + MARK_BYTES;

/// A blob that is being spooled. Its files stay when it is dropped.
pub(super) struct LocalSpool {
    place: Arc<Place>,
    key: BlobKey,
    data: PathBuf,
    /// None after a failed write: what follows would leave a hole.
    files: Option<Files>,
    marks: Vec<[u8; MARK_BYTES]>,
    bytes: u64,
    /// Whether frames or names wait for the disk.
    unsynced: bool,
    _alone: Alone,
}

struct Files {
    data: File,
    records: File,
}

/// Holds the key: two spools of one blob would mix their frames.
struct Alone {
    place: Arc<Place>,
    key: BlobKey,
}

impl Drop for Alone {
    fn drop(&mut self) {
        let mut open = self
            .place
            .spooling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.key);
    }
}

impl LocalSpool {
    pub(super) fn open(place: &Arc<Place>, key: &BlobKey, mark: Mark) -> Result<Self, BlobError> {
        const DOING: &str = "opening a spool";
        let alone = Self::alone(place, key)?;
        let data = place.spool_of(key, FINISHED);
        let records = place.spool_of(key, MARKS);
        let open = |path: &PathBuf| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(path)
        };
        let open_both = || {
            let _names = place.lock_names();
            if let Some(folder) = data.parent() {
                fs::create_dir_all(folder)?;
            }
            // Records first: a spool is listed by them.
            let records = open(&records)?;
            Ok(Files {
                data: open(&data)?,
                records,
            })
        };
        let mut files = open_both().map_err(io_fault(DOING))?;
        let found = Found::read(&mut files, mark).map_err(io_fault(DOING))?;
        Ok(Self {
            place: Arc::clone(place),
            key: key.clone(),
            data,
            files: Some(files),
            marks: found.marks,
            bytes: found.bytes,
            // What is found may still wait in the system's cache.
            unsynced: true,
            _alone: alone,
        })
    }

    fn alone(place: &Arc<Place>, key: &BlobKey) -> Result<Alone, BlobError> {
        let mut open = place
            .spooling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !open.insert(key.clone()) {
            return Err(BlobError::Spooling { key: key.clone() });
        }
        Ok(Alone {
            place: Arc::clone(place),
            key: key.clone(),
        })
    }
}

impl BlobSpool for LocalSpool {
    fn marks(&self) -> &[[u8; MARK_BYTES]] {
        &self.marks
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn append(&mut self, frame: &[u8], mark: [u8; MARK_BYTES]) -> Result<(), BlobError> {
        self.place.check_running()?;
        let mut files = self.files.take().ok_or(StoreFault::Stopped)?;
        let mut write = || {
            let length = u32::try_from(frame.len())
                .ok()
                .filter(|_| (1..=MAX_FRAME_BYTES).contains(&frame.len()))
                .ok_or(io::ErrorKind::InvalidInput)?;
            let mut record = [0; RECORD_BYTES];
            record[..4].copy_from_slice(&length.to_le_bytes());
            record[4..].copy_from_slice(&mark);
            files.data.write_all(frame)?;
            files.records.write_all(&record)
        };
        write().map_err(io_fault("spooling a frame"))?;
        self.files = Some(files);
        self.marks.push(mark);
        self.bytes = self.bytes.saturating_add(frame.len() as u64);
        self.unsynced = true;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), BlobError> {
        self.place.check_running()?;
        if !self.unsynced {
            return Ok(());
        }
        let files = self.files.as_ref().ok_or(StoreFault::Stopped)?;
        self.place.durably("syncing a spool", || {
            files.data.sync_all()?;
            files.records.sync_all()?;
            // The names too, up to the store's own folder, which was synced when it was made.
            for folder in self.data.ancestors().skip(1) {
                sync_folder(folder)?;
                if folder == self.place.spool {
                    break;
                }
            }
            Ok(())
        })?;
        self.unsynced = false;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<u64, BlobError> {
        const DOING: &str = "finishing a spool";
        self.place.check_running()?;
        let files = self.files.take().ok_or(StoreFault::Stopped)?;
        self.place.durably(DOING, || files.data.sync_all())?;
        drop(files);
        let path = self.place.path_of(&self.key);
        let _names = self.place.lock_names();
        let there = |path: &PathBuf| fs::exists(path).map_err(io_fault(DOING));
        if there(&path)? {
            return Err(BlobError::Exists {
                key: self.key.clone(),
            });
        }
        if !there(&self.data)? {
            return Err(BlobError::Missing {
                key: self.key.clone(),
            });
        }
        self.place.durably(DOING, || {
            self.place.create_folders_above(&path)?;
            fs::rename(&self.data, &path)?;
            sync_parent(&path)
        })?;
        // Records without frames say nothing; those that a crash leaves go with the other spools of the round.
        let _ = fs::remove_file(self.place.spool_of(&self.key, MARKS));
        remove_empty_folders(&self.data, &self.place.spool);
        Ok(self.bytes)
    }
}

/// What a spool holds when it is opened.
#[derive(Default)]
struct Found {
    marks: Vec<[u8; MARK_BYTES]>,
    bytes: u64,
}

impl Found {
    /// Reads frames for as long as they are what their records say, cuts off the rest, and leaves both files at their end.
    fn read(files: &mut Files, mark: Mark) -> io::Result<Self> {
        let found = Self::of(BufReader::new(&files.records), &files.data, mark)?;
        let records = (found.marks.len() as u64).saturating_mul(RECORD_BYTES as u64);
        files.data.set_len(found.bytes)?;
        files.records.set_len(records)?;
        files.data.seek(SeekFrom::Start(found.bytes))?;
        files.records.seek(SeekFrom::Start(records))?;
        Ok(found)
    }

    fn of(mut records: impl Read, mut data: impl Read, mark: Mark) -> io::Result<Self> {
        let mut found = Self::default();
        let mut frame = Vec::new();
        while let Some((length, expected)) = next_record(&mut records)? {
            frame.clear();
            data.by_ref().take(length).read_to_end(&mut frame)?;
            if frame.len() as u64 != length || mark(&frame) != expected {
                break;
            }
            found.marks.push(expected);
            found.bytes = found.bytes.saturating_add(length);
        }
        Ok(found)
    }
}

/// How many frames a spool of these two files goes on with after a restart, and their bytes together.
///
/// # Errors
/// What reading gives.
pub fn spooled_frames(records: impl Read, data: impl Read, mark: Mark) -> io::Result<(usize, u64)> {
    let found = Found::of(records, data, mark)?;
    Ok((found.marks.len(), found.bytes))
}

/// The next record that could be one; none when the file ends before, or says an impossible length.
fn next_record(records: &mut impl Read) -> io::Result<Option<(u64, [u8; MARK_BYTES])>> {
    let mut record = Vec::with_capacity(RECORD_BYTES);
    records.take(RECORD_BYTES as u64).read_to_end(&mut record)?;
    let Some((length, mark)) = record.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length);
    let Ok(mark) = mark.try_into() else {
        return Ok(None);
    };
    let possible =
        usize::try_from(length).is_ok_and(|length| (1..=MAX_FRAME_BYTES).contains(&length));
    Ok(possible.then_some((length.into(), mark)))
}
