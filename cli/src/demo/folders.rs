//! Where the demo works and what it leaves: everything with `--dir`, otherwise the model and the audit log.

use std::path::{Path, PathBuf};

use super::options::{DEFAULT_DIR, Options};
use crate::failure::{Failure, at};

/// Folder of the model inside the demo's folder.
const MODEL_FOLDER: &str = "model";

/// Folder of the audit log's copy beside the model, when the rest is not kept.
const AUDIT_FOLDER: &str = "audit";

/// Where the demo works, and where the model goes.
pub(super) struct Folders {
    /// Everything: configuration, data, keys, state, logs.
    pub(super) work: PathBuf,
    /// The model and its manifest.
    pub(super) model: PathBuf,
    /// Removed when the demo succeeds; none with `--dir`.
    temporary: Option<tempfile::TempDir>,
}

impl Folders {
    /// The folder that was asked for, or a temporary one.
    pub(super) fn new(options: &Options) -> Result<Self, Failure> {
        if let Some(dir) = &options.dir {
            return Ok(Self {
                work: dir.clone(),
                model: dir.join(MODEL_FOLDER),
                temporary: None,
            });
        }
        let temporary = tempfile::Builder::new()
            .prefix("consort-demo-")
            .tempdir()
            .map_err(at(&std::env::temp_dir()))?;
        Ok(Self {
            work: temporary.path().to_owned(),
            model: Path::new(DEFAULT_DIR).to_owned(),
            temporary: Some(temporary),
        })
    }

    /// Where the audit log lies after the demo: copied beside the model unless everything is kept anyway.
    pub(super) fn keep_audit(&self, audit: &Path) -> Result<PathBuf, Failure> {
        if self.temporary.is_none() {
            return Ok(audit.to_owned());
        }
        let kept = self.model.join(AUDIT_FOLDER);
        copy_files(audit, &kept)?;
        Ok(kept)
    }

    /// A failed demo leaves its files, so that a person can look.
    pub(super) fn keep_after(self, failure: Failure) -> Failure {
        let kept = self.temporary.map_or(self.work, tempfile::TempDir::keep);
        Failure {
            message: format!(
                "{}; everything is kept in {}",
                failure.message,
                kept.display()
            ),
            ..failure
        }
    }
}

/// Copies a folder of files, replacing those of an earlier demo.
fn copy_files(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to).map_err(at(to))?;
    for entry in std::fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let path = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_files(&entry.path(), &path)?;
        } else {
            std::fs::copy(entry.path(), &path).map_err(at(&path))?;
        }
    }
    Ok(())
}
