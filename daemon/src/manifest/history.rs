//! The manifests that a node saw, each sealed in a file of its state folder: the newest is a pin.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_aggregation::Digest;
use consort_attestation::Verifier;
use consort_contract::{Manifest, Roster, SignedManifest};
use consort_vault::StateKey;

use super::{parsed, read, refused, verifier};
use crate::config::{self, ConfigError};
use crate::disk;
use crate::node::NodeError;

/// The folder in the state folder; in it one for each roster, named by its root.
const FOLDER: &str = "manifests";

/// How a pin's file ends.
const EXTENSION: &str = "sealed";

/// How it ended when pins were not sealed.
const UNSEALED_EXTENSION: &str = "json";

/// What a pin is sealed as; its name is the roster's root and the version.
const KIND: &str = "manifest";

/// The manifests that this node saw, from genesis on, in its state folder. Each start checks the whole chain again.
///
/// # Security
/// The newest is a pin: an older one is refused. Each lies sealed under the state key, for its roster and version, and names the hash
/// of the one before it: none can be forged, moved or left out in the middle. Who can write to the state folder can still take
/// the newest away, and the one before it is in force at the next start.
#[derive(Debug, Clone)]
pub struct ManifestHistory {
    folder: PathBuf,
    key: Arc<StateKey>,
    roster: Arc<Roster>,
    seen: Vec<Manifest>,
}

/// What a file held: a manifest that can be used, pinned by now.
pub struct Taken {
    /// The manifest.
    pub manifest: Manifest,
    /// What follows from it.
    pub verifier: Verifier,
    /// Whether it was seen before.
    pub known: bool,
}

impl ManifestHistory {
    /// Opens the history of a roster.
    ///
    /// # Errors
    /// [`NodeError::Manifest`] names a file that does not follow from the one before it, [`NodeError::State`] one that cannot be
    /// read, [`NodeError::Vault`] one that does not open.
    pub fn open(
        state_dir: &Path,
        roster: &Arc<Roster>,
        key: &Arc<StateKey>,
    ) -> Result<Self, NodeError> {
        let mut history = Self {
            folder: folder_of(state_dir, &roster.root()),
            key: key.clone(),
            roster: roster.clone(),
            seen: Vec::new(),
        };
        history.read_again()?;
        Ok(history)
    }

    /// Whether any manifest of this roster was ever in force at this node.
    pub fn has_begun(state_dir: &Path, roster: &Digest) -> bool {
        std::fs::read_dir(folder_of(state_dir, roster))
            .is_ok_and(|mut files| files.next().is_some())
    }

    /// Seals the pins of all rosters in one state folder under another key, in another.
    ///
    /// # Errors
    /// As [`ManifestHistory::open`]. A pin that is there already is replaced.
    pub fn reseal(from: &Path, old: &StateKey, to: &Path, new: &StateKey) -> Result<(), NodeError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| NodeError::State { path, source }
        };
        let from = from.join(FOLDER);
        if !from.exists() {
            return Ok(());
        }
        for roster in std::fs::read_dir(&from).map_err(failed(&from))? {
            let roster = roster.map_err(failed(&from))?.path();
            let root = file_name(&roster);
            let copies = to.join(FOLDER).join(&root);
            std::fs::create_dir_all(&copies).map_err(failed(&copies))?;
            for pin in std::fs::read_dir(&roster).map_err(failed(&roster))? {
                let pin = pin.map_err(failed(&roster))?.path();
                if pin
                    .extension()
                    .is_none_or(|extension| extension != EXTENSION)
                {
                    continue;
                }
                let name = format!("{root}/{}", stem(&pin));
                let plain = old.open(KIND, &name, &config::read_bytes(&pin)?)?;
                let copy = copies.join(file_name(&pin));
                disk::replace(&copy, &new.seal(KIND, &name, &plain)).map_err(failed(&copy))?;
            }
        }
        Ok(())
    }

    /// The chain as it lies on disk: `consort manifest adopt` may have added to it beside a running daemon.
    fn read_again(&mut self) -> Result<(), NodeError> {
        let mut seen = Vec::<Manifest>::new();
        for path in self.files()? {
            let manifest = self.opened(&path)?.verify(&self.roster, seen.last());
            seen.push(manifest.map_err(refused(&path))?);
        }
        self.seen = seen;
        Ok(())
    }

    /// A pin, out of its sealing.
    fn opened(&self, path: &Path) -> Result<SignedManifest, NodeError> {
        let sealed = config::read_bytes(path)?;
        let name = self.sealed_name(&stem(path));
        let plain = self.key.open(KIND, &name, &sealed)?;
        parsed(path, &plain)
    }

    fn sealed_name(&self, version: &str) -> String {
        format!("{}/{version}", self.roster.root())
    }

    /// The newest manifest that was seen.
    pub fn newest(&self) -> Option<&Manifest> {
        self.seen.last()
    }

    /// Whether a manifest was in force here, now or once.
    pub fn has(&self, hash: &Digest) -> bool {
        self.seen.iter().any(|seen| seen.hash() == *hash)
    }

    /// The manifests above a version, oldest first, as they lie on disk now.
    ///
    /// # Errors
    /// As [`ManifestHistory::open`].
    pub fn after(&mut self, version: u64) -> Result<&[Manifest], NodeError> {
        self.read_again()?;
        let from = self.seen.partition_point(|it| it.version() <= version);
        Ok(self.seen.get(from..).unwrap_or_default())
    }

    /// Takes the manifest in a file: the newest that was seen, or one that follows it. A new one is pinned, once this node can use it.
    ///
    /// # Errors
    /// [`NodeError`]; nothing changes then.
    pub fn take(&mut self, path: &Path, roots: &[PathBuf]) -> Result<Taken, NodeError> {
        self.take_signed(path, read(path)?, roots)
    }

    /// As [`ManifestHistory::take`]; but where the file holds one that was in force here once, the newest that was seen stays in
    /// force: it may have come from elsewhere than from this file.
    ///
    /// # Errors
    /// As [`ManifestHistory::take`].
    pub fn take_or_keep(&mut self, path: &Path, roots: &[PathBuf]) -> Result<Taken, NodeError> {
        let signed = read(path)?;
        self.read_again()?;
        let hash = signed.document.hash();
        let newest = self.newest().filter(|newest| newest.hash() != hash);
        match newest {
            Some(newest) if self.has(&hash) => {
                let (version, found) = (newest.version(), signed.document.version);
                tracing::warn!(
                    version,
                    found,
                    file = %path.display(),
                    "the manifest's file is older than the newest manifest that was in force here, which stays in force"
                );
                let newest = newest.signed().clone();
                self.take_signed(path, newest, roots)
            }
            Some(_) | None => self.take_signed(path, signed, roots),
        }
    }

    pub(super) fn take_signed(
        &mut self,
        path: &Path,
        signed: SignedManifest,
        roots: &[PathBuf],
    ) -> Result<Taken, NodeError> {
        self.read_again()?;
        let hash = signed.document.hash();
        let known = self.newest().filter(|newest| newest.hash() == hash);
        let is_known = known.is_some();
        let manifest = match known {
            Some(newest) => newest.clone(),
            None => signed
                .verify(&self.roster, self.newest())
                .map_err(refused(path))?,
        };
        let verifier = verifier(&manifest.signed().document, roots)?;
        if !is_known {
            self.pin(manifest.clone())?;
        }
        Ok(Taken {
            manifest,
            verifier,
            known: is_known,
        })
    }

    /// On disk before anything follows from it.
    fn pin(&mut self, manifest: Manifest) -> Result<(), NodeError> {
        let version = digits(manifest.version());
        let path = self.folder.join(format!("{version}.{EXTENSION}"));
        let failed = |source| NodeError::State {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        let plain = manifest.signed().to_json();
        let sealed = self
            .key
            .seal(KIND, &self.sealed_name(&version), plain.as_bytes());
        disk::replace(&path, &sealed).map_err(failed)?;
        self.seen.push(manifest);
        Ok(())
    }

    /// The files in order of their versions.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, NodeError> {
        let failed = |source| NodeError::State {
            path: self.folder.clone(),
            source,
        };
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let ends = |with| path.extension().is_some_and(|extension| extension == with);
            if ends(UNSEALED_EXTENSION) {
                return Err(unsealed(&path).into());
            }
            if ends(EXTENSION) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

/// There is no installed base: nothing is taken over from state that nobody sealed.
fn unsealed(path: &Path) -> ConfigError {
    ConfigError::invalid(
        path,
        "a manifest is pinned here that is not sealed, as an earlier version of this program wrote it; move this folder away and \
         pin the manifests again (`consort manifest adopt`)",
    )
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn folder_of(state_dir: &Path, roster: &Digest) -> PathBuf {
    state_dir.join(FOLDER).join(roster.to_string())
}

/// As many digits as any version has, so that names sort like versions.
fn digits(version: u64) -> String {
    format!("{version:020}")
}
