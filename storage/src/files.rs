//! Blobs as local files: written beside, synced, renamed into place.

mod spool;

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::blob::{BlobError, BlobKey, BlobReader, BlobSpool, BlobStore, BlobWriter, Mark};
use crate::error::{OpenError, StoreFault, io_fault};
pub use spool::spooled_frames;
use spool::{LocalSpool, MARKS};

/// Ends the file name of a finished blob. No key holds it, so the blob `a` and the folder of `a/b` never meet.
const FINISHED: &str = "~";

/// A blob store in a folder, for one process.
///
/// `finished/` holds the blobs, `partial/` those that are being written; what is in `partial/` when the store opens was
/// left by a process that died, and is removed. `spool/` holds those that arrive over several processes, and stays.
#[derive(Debug)]
pub struct LocalBlobs {
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    finished: PathBuf,
    partial: PathBuf,
    spool: PathBuf,
    next_partial: AtomicU64,
    /// Held while names change, so that a key is taken once and no folder vanishes under a rename.
    names: Mutex<()>,
    /// Spools that are open.
    spooling: Mutex<BTreeSet<BlobKey>>,
    /// Set by the first failed fsync; nothing is written after it (see `EmbeddedStore`).
    stopped: AtomicBool,
    _lock: File,
}

impl LocalBlobs {
    /// Opens the store in `folder`, creating it if need be, and removes what a dead process left half-written.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another process has it, [`OpenError::Fault`] if the disk fails.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        let folder = folder.as_ref();
        let fault = |doing| {
            move |error| OpenError::Fault {
                path: folder.to_owned(),
                source: io_fault(doing)(error),
            }
        };
        fs::create_dir_all(folder).map_err(fault("creating the blob store"))?;
        let lock = File::create(folder.join("lock")).map_err(fault("locking the blob store"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse {
                    path: folder.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(fault("locking the blob store")(error)),
        }
        let (finished, partial) = (folder.join("finished"), folder.join("partial"));
        let spool = folder.join("spool");
        let prepare = || {
            if fs::exists(&partial)? {
                fs::remove_dir_all(&partial)?;
            }
            fs::create_dir(&partial)?;
            fs::create_dir_all(&finished)?;
            fs::create_dir_all(&spool)?;
            sync_folder(folder)?;
            sync_parent(folder)
        };
        prepare().map_err(fault("preparing the blob store"))?;
        Ok(Self {
            place: Arc::new(Place {
                finished,
                partial,
                spool,
                next_partial: AtomicU64::new(0),
                names: Mutex::new(()),
                spooling: Mutex::new(BTreeSet::new()),
                stopped: AtomicBool::new(false),
                _lock: lock,
            }),
        })
    }
}

impl BlobStore for LocalBlobs {
    fn begin(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.place.check_running()?;
        if self.length(key)?.is_some() {
            return Err(BlobError::Exists { key: key.clone() });
        }
        let number = self.place.next_partial.fetch_add(1, Ordering::Relaxed);
        let path = self.place.partial.join(number.to_string());
        let file = File::create_new(&path).map_err(io_fault("beginning a blob"))?;
        Ok(Box::new(LocalWriter {
            place: Arc::clone(&self.place),
            key: key.clone(),
            partial: Partial { path },
            file: Some(file),
            written: 0,
        }))
    }

    fn spool(&self, key: &BlobKey, mark: Mark) -> Result<Box<dyn BlobSpool>, BlobError> {
        self.place.check_running()?;
        if self.length(key)?.is_some() {
            return Err(BlobError::Exists { key: key.clone() });
        }
        Ok(Box::new(LocalSpool::open(&self.place, key, mark)?))
    }

    fn remove_spool(&self, key: &BlobKey) -> Result<bool, BlobError> {
        self.place.check_running()?;
        let _names = self.place.lock_names();
        let data = self.place.spool_of(key, FINISHED);
        let marks = self.place.spool_of(key, MARKS);
        let mut removed = false;
        for path in [&data, &marks] {
            match fs::remove_file(path) {
                Ok(()) => removed = true,
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(io_fault("removing a spool")(error).into()),
            }
        }
        remove_empty_folders(&data, &self.place.spool);
        Ok(removed)
    }

    fn spools(&self, prefix: &str) -> Result<Vec<BlobKey>, BlobError> {
        let mut found = Vec::new();
        list_folder(&self.place.spool, "", prefix, MARKS, &mut found)
            .map_err(io_fault("listing spools"))?;
        found.sort();
        Ok(found)
    }

    fn open(&self, key: &BlobKey) -> Result<Box<dyn BlobReader>, BlobError> {
        match File::open(self.place.path_of(key)) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) if is_missing(&error) => Err(BlobError::Missing { key: key.clone() }),
            Err(error) => Err(io_fault("opening a blob")(error).into()),
        }
    }

    fn length(&self, key: &BlobKey) -> Result<Option<u64>, BlobError> {
        match fs::metadata(self.place.path_of(key)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(io_fault("looking for a blob")(error).into()),
        }
    }

    fn remove(&self, key: &BlobKey) -> Result<bool, BlobError> {
        self.place.check_running()?;
        let _names = self.place.lock_names();
        let path = self.place.path_of(key);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if is_missing(&error) => return Ok(false),
            Err(error) => return Err(io_fault("removing a blob")(error).into()),
        }
        self.place
            .durably("removing a blob", || sync_parent(&path))?;
        remove_empty_folders(&path, &self.place.finished);
        Ok(true)
    }

    fn list(&self, prefix: &str) -> Result<Vec<BlobKey>, BlobError> {
        let mut found = Vec::new();
        list_folder(&self.place.finished, "", prefix, FINISHED, &mut found)
            .map_err(io_fault("listing blobs"))?;
        found.sort();
        Ok(found)
    }
}

impl Place {
    fn path_of(&self, key: &BlobKey) -> PathBuf {
        self.finished.join(format!("{key}{FINISHED}"))
    }

    fn spool_of(&self, key: &BlobKey, suffix: &str) -> PathBuf {
        self.spool.join(format!("{key}{suffix}"))
    }

    fn lock_names(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_running(&self) -> Result<(), StoreFault> {
        if self.stopped.load(Ordering::Acquire) {
            Err(StoreFault::Stopped)
        } else {
            Ok(())
        }
    }

    /// Runs what must reach the disk; if it fails, the store stops.
    fn durably(
        &self,
        doing: &'static str,
        act: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), StoreFault> {
        act().map_err(|error| {
            self.stopped.store(true, Ordering::Release);
            io_fault(doing)(error)
        })
    }

    /// Creates the folders above `path`, each durable in the one above it.
    fn create_folders_above(&self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut folder = path.parent();
        while let Some(here) = folder.filter(|here| *here != self.finished && !here.is_dir()) {
            missing.push(here);
            folder = here.parent();
        }
        for folder in missing.into_iter().rev() {
            fs::create_dir(folder)?;
            sync_parent(folder)?;
        }
        Ok(())
    }
}

/// Removes the folders between `path` and `root` that are now empty. What stays is found by no key, so failing is no fault.
fn remove_empty_folders(path: &Path, root: &Path) {
    let above = path
        .ancestors()
        .skip(1)
        .take_while(|folder| *folder != root);
    for folder in above {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

/// A blob on its way. The file goes when this does, unless it was renamed into place.
struct LocalWriter {
    place: Arc<Place>,
    key: BlobKey,
    partial: Partial,
    /// None after a failed write: what follows would leave a hole.
    file: Option<File>,
    written: u64,
}

struct Partial {
    path: PathBuf,
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Missing after a rename; anything else is swept when the store opens next.
        let _ = fs::remove_file(&self.path);
    }
}

impl BlobWriter for LocalWriter {
    fn write(&mut self, chunk: &[u8]) -> Result<u64, BlobError> {
        self.place.check_running()?;
        let mut file = self.file.take().ok_or(StoreFault::Stopped)?;
        file.write_all(chunk).map_err(io_fault("writing a blob"))?;
        self.file = Some(file);
        self.written = self.written.saturating_add(chunk.len() as u64);
        Ok(self.written)
    }

    fn finish(mut self: Box<Self>) -> Result<u64, BlobError> {
        const DOING: &str = "finishing a blob";
        self.place.check_running()?;
        let file = self.file.take().ok_or(StoreFault::Stopped)?;
        self.place.durably(DOING, || file.sync_all())?;
        drop(file);
        let path = self.place.path_of(&self.key);
        let _names = self.place.lock_names();
        if fs::exists(&path).map_err(io_fault(DOING))? {
            return Err(BlobError::Exists {
                key: self.key.clone(),
            });
        }
        self.place.durably(DOING, || {
            self.place.create_folders_above(&path)?;
            fs::rename(&self.partial.path, &path)?;
            sync_parent(&path)
        })?;
        Ok(self.written)
    }
}

/// A key below a file is as missing as one below nothing.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Adds the keys below `folder`, whose own key is `above`, that start with `prefix` and whose file ends with `suffix`. As deep as
/// a key has parts.
fn list_folder(
    folder: &Path,
    above: &str,
    prefix: &str,
    suffix: &str,
    found: &mut Vec<BlobKey>,
) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Its last blob was removed since the folder above was read.
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if entry.file_type()?.is_dir() {
            let below = format!("{above}{name}/");
            if below.starts_with(prefix) || prefix.starts_with(&below) {
                list_folder(&entry.path(), &below, prefix, suffix, found)?;
            }
        } else if let Some(name) = name.strip_suffix(suffix) {
            let key = format!("{above}{name}");
            if key.starts_with(prefix)
                && let Ok(key) = BlobKey::new(key)
            {
                found.push(key);
            }
        }
    }
    Ok(())
}

/// Makes the names in the folder of `path` durable (fsync(2): syncing a file does not sync its directory entry).
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => sync_folder(folder),
        _ => sync_folder(Path::new(".")),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
