//! The manifest in force: the manifests that this node saw, pinned in its state; what follows from the newest; and the file
//! that is looked after while the daemon runs.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use consort_aggregation::Digest;
use consort_attestation::channel::{Dropped, InForce, ManifestId, Rules};
use consort_attestation::statements::SessionContext;
use consort_attestation::{Policy, TrustStore, Verifier};
use consort_contract::manifest::MAX_MANIFEST_BYTES;
use consort_contract::{Manifest, ManifestDocument, ManifestError, Roster, SignedManifest};
use consort_round::PROTOCOL_VERSION;

use crate::config::{self, ConfigError};
use crate::disk;
use crate::node::{NodeConfig, NodeError};
use crate::peers::RosterDirectory;

/// Between two looks at the file. A change is taken when two looks saw the same, so that no half-written file is judged: within
/// half a second of its last byte. A look reads and hashes one small file.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The folder in the state folder; in it one for each roster, named by its root.
const FOLDER: &str = "manifests";

/// With which DER begins a revocation list.
const DER_SEQUENCE: u8 = 0x30;

/// With which Intel's collateral begins.
const JSON_OBJECT: u8 = b'{';

/// Reads a manifest's file, which is untrusted. No more than the largest manifest is read.
///
/// # Errors
/// [`NodeError::Config`] and [`NodeError::Manifest`].
pub fn read(path: &Path) -> Result<SignedManifest, NodeError> {
    parsed(path, &bytes_of(path)?)
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, NodeError> {
    let most = u64::try_from(MAX_MANIFEST_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}

fn parsed(path: &Path, bytes: &[u8]) -> Result<SignedManifest, NodeError> {
    SignedManifest::from_json(bytes).map_err(refused(path))
}

fn refused(path: &Path) -> impl Fn(ManifestError) -> NodeError + '_ {
    move |source| NodeError::Manifest {
        path: path.to_owned(),
        source,
    }
}

/// The verifier that follows from a manifest's policy and revocation lists, and from the roots that this node was given.
///
/// # Errors
/// [`NodeError`] when the policy does not read, or names a root whose certificates are not here.
pub fn verifier(document: &ManifestDocument, roots: &[PathBuf]) -> Result<Verifier, NodeError> {
    let policy = Policy::from_toml(&document.policy)?;
    let mut store = trust_store(roots)?;
    for list in &document.revocation_lists {
        store.add_crl(&list.0)?;
    }
    Ok(Verifier::new(policy, &store)?)
}

/// Bundles of roots, revocation lists and Intel's collateral, in any order: which is which, their first byte says, as AMD publishes its
/// lists as DER, and collateral is a JSON object.
pub(crate) fn trust_store(files: &[PathBuf]) -> Result<TrustStore, NodeError> {
    let mut store = TrustStore::new();
    let mut lists = Vec::new();
    for path in files {
        let file = config::read_bytes(path)?;
        if file.first() == Some(&DER_SEQUENCE) {
            lists.push(file);
        } else if file.trim_ascii_start().first() == Some(&JSON_OBJECT) {
            store.add_collateral(&file)?;
        } else {
            store.add_pem_bundle(&file)?;
        }
    }
    for list in lists {
        store.add_crl(&list)?;
    }
    Ok(store)
}

/// The rules that follow from a manifest. Connections serve all jobs; the manifest's hash covers the roster's root.
pub fn rules(roster: &Arc<Roster>, manifest: &Manifest, verifier: Verifier) -> Rules {
    let consortium = Digest::of(roster.consortium().as_str().as_bytes());
    let hash = manifest.hash();
    Rules {
        verifier: Arc::new(verifier),
        directory: Arc::new(RosterDirectory(roster.clone())),
        manifest: ManifestId {
            version: manifest.version(),
            hash: *hash.as_bytes(),
        },
        replaces: manifest.previous().map(|previous| *previous.as_bytes()),
        context: SessionContext::new(
            PROTOCOL_VERSION,
            consortium.as_bytes(),
            hash.as_bytes(),
            b"",
        ),
    }
}

/// The manifests that this node saw, from genesis on, in its state folder. Each start checks the whole chain again.
///
/// # Security
/// The newest is a pin: an older one is refused. The files are not sealed: who can write to the state folder can take the newest
/// away, and the one before it is in force at the next start.
#[derive(Debug, Clone)]
pub struct ManifestHistory {
    folder: PathBuf,
    roster: Arc<Roster>,
    newest: Option<Manifest>,
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
    /// read.
    pub fn open(state_dir: &Path, roster: &Arc<Roster>) -> Result<Self, NodeError> {
        let mut history = Self {
            folder: folder_of(state_dir, &roster.root()),
            roster: roster.clone(),
            newest: None,
        };
        history.read_again()?;
        Ok(history)
    }

    /// Whether any manifest of this roster was ever in force at this node.
    pub fn has_begun(state_dir: &Path, roster: &Digest) -> bool {
        std::fs::read_dir(folder_of(state_dir, roster))
            .is_ok_and(|mut files| files.next().is_some())
    }

    /// The chain as it lies on disk: `consort manifest adopt` may have added to it beside a running daemon.
    fn read_again(&mut self) -> Result<(), NodeError> {
        let mut newest = None;
        for path in self.files()? {
            let manifest = read(&path)?.verify(&self.roster, newest.as_ref());
            newest = Some(manifest.map_err(refused(&path))?);
        }
        self.newest = newest;
        Ok(())
    }

    /// The newest manifest that was seen.
    pub fn newest(&self) -> Option<&Manifest> {
        self.newest.as_ref()
    }

    /// Takes the manifest in a file: the newest that was seen, or one that follows it. A new one is pinned, once this node can use it.
    ///
    /// # Errors
    /// [`NodeError`]; nothing changes then.
    pub fn take(&mut self, path: &Path, roots: &[PathBuf]) -> Result<Taken, NodeError> {
        self.take_signed(path, read(path)?, roots)
    }

    fn take_signed(
        &mut self,
        path: &Path,
        signed: SignedManifest,
        roots: &[PathBuf],
    ) -> Result<Taken, NodeError> {
        self.read_again()?;
        let hash = signed.document.hash();
        let known = self.newest.as_ref().filter(|newest| newest.hash() == hash);
        let is_known = known.is_some();
        let manifest = match known {
            Some(newest) => newest.clone(),
            None => signed
                .verify(&self.roster, self.newest.as_ref())
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
        let path = self.folder.join(file_name(manifest.version()));
        let failed = |source| NodeError::State {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        disk::replace(&path, manifest.signed().to_json().as_bytes()).map_err(failed)?;
        self.newest = Some(manifest);
        Ok(())
    }

    /// The files in order of their versions.
    fn files(&self) -> Result<Vec<PathBuf>, NodeError> {
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
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

fn folder_of(state_dir: &Path, roster: &Digest) -> PathBuf {
    state_dir.join(FOLDER).join(roster.to_string())
}

/// As many digits as any version has, so that names sort like versions.
fn file_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// Looks after the manifest's file while the daemon runs.
pub struct ManifestWatch {
    path: PathBuf,
    roots: Vec<PathBuf>,
    roster: Arc<Roster>,
    history: ManifestHistory,
    in_force: Arc<InForce>,
    /// What was seen last, and what was taken last: hashes of the file's bytes.
    seen: Digest,
    taken: Digest,
    failed: Option<Failed>,
}

/// Content of the file that was not taken. It is tried again: a disk may have been full, a root may have been missing, the
/// manifests between may have been adopted since.
struct Failed {
    content: Digest,
    code: &'static str,
    looks: u32,
}

/// Looks between two tries of content that was not taken: five seconds.
const RETRY_LOOKS: u32 = 25;

/// A manifest that came into force while the daemon ran.
#[derive(Debug)]
pub struct ManifestChange {
    /// The manifest.
    pub manifest: ManifestId,
    /// The hashes of the simulated roots that its policy accepts.
    pub simulated_roots: usize,
    /// The sessions whose evidence failed it; they are cut already.
    pub dropped: Vec<Dropped>,
}

impl ManifestWatch {
    pub(crate) fn new(
        config: &NodeConfig,
        roster: Arc<Roster>,
        history: ManifestHistory,
        in_force: Arc<InForce>,
    ) -> Self {
        let newest = history.newest().map(|newest| newest.signed().to_json());
        // A file in another layout than this program's is taken once more, and found to be in force.
        let taken = Digest::of(newest.unwrap_or_default().as_bytes());
        Self {
            path: config.manifest.clone(),
            roots: config.roots.clone(),
            roster,
            history,
            in_force,
            seen: taken,
            taken,
            failed: None,
        }
    }

    /// One look at the file. A new manifest that holds is pinned and put in force, and the sessions that live are judged again.
    ///
    /// # Errors
    /// [`NodeError`], once for each content of the file and reason: what was in force stays so, and the content is tried again.
    pub fn look(&mut self, now: SystemTime) -> Result<Option<ManifestChange>, NodeError> {
        let bytes = bytes_of(&self.path);
        let content = Digest::of(bytes.as_deref().unwrap_or_default());
        let settled = content == std::mem::replace(&mut self.seen, content);
        if !settled || content == self.taken {
            return Ok(None);
        }
        if let Some(failed) = self.failed.as_mut().filter(|f| f.content == content) {
            failed.looks = (failed.looks + 1) % RETRY_LOOKS;
            if failed.looks != 0 {
                return Ok(None);
            }
        }
        match bytes.and_then(|bytes| self.take(&bytes, now)) {
            Ok(change) => {
                self.taken = content;
                self.failed = None;
                Ok(change)
            }
            Err(error) => {
                let failed = Failed {
                    content,
                    code: error.code(),
                    looks: 0,
                };
                let before = self.failed.replace(failed);
                let told = before.is_some_and(|f| f.content == content && f.code == error.code());
                if told { Ok(None) } else { Err(error) }
            }
        }
    }

    fn take(&mut self, bytes: &[u8], now: SystemTime) -> Result<Option<ManifestChange>, NodeError> {
        let signed = parsed(&self.path, bytes)?;
        let taken = self.history.take_signed(&self.path, signed, &self.roots)?;
        let simulated_roots = taken.verifier.policy().simulated_roots().len();
        let rules = rules(&self.roster, &taken.manifest, taken.verifier);
        let manifest = rules.manifest;
        if manifest == self.in_force.rules().manifest {
            return Ok(None);
        }
        Ok(Some(ManifestChange {
            manifest,
            simulated_roots,
            dropped: self.in_force.replace(rules, now),
        }))
    }

    /// Looks for ever, says in the log what came of it, and tells of each change.
    pub async fn keep(mut self, mut changed: impl FnMut(ManifestChange)) {
        show_version(self.in_force.rules().manifest.version);
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            // Judging every session takes milliseconds for each.
            let looked = tokio::task::spawn_blocking(move || {
                let found = self.look(SystemTime::now());
                (self, found)
            });
            let Ok((watch, found)) = looked.await else {
                tracing::error!(target: ALERT, alert = "manifest_watch_lost", "the manifest's file is not looked after any more; restart this daemon");
                return;
            };
            self = watch;
            match found {
                Ok(None) => {}
                Ok(Some(change)) => {
                    tell(&change);
                    changed(change);
                }
                Err(error) => {
                    tracing::error!(target: ALERT, alert = "manifest_refused", code = error.code(), %error, "the file holds no manifest that can follow; what was in force stays so");
                }
            }
        }
    }
}

/// The target of events that a person should look at.
pub const ALERT: &str = "consort::alert";

fn tell(change: &ManifestChange) {
    let version = change.manifest.version;
    let hash = Digest::new(change.manifest.hash);
    tracing::info!(version, %hash, dropped = change.dropped.len(), "a new manifest is in force");
    show_version(version);
    if change.simulated_roots > 0 {
        tracing::warn!(target: ALERT, alert = "dangerous_simulated_roots", version, "the new manifest accepts SIMULATED machines: their evidence proves nothing about hardware");
    }
    for dropped in &change.dropped {
        let (peer, code) = (dropped.peer.organisation(), dropped.cause.code());
        tracing::error!(target: ALERT, alert = "session_dropped", organisation = peer, code, version, "a session's evidence fails the new manifest; it is cut");
    }
}

/// Exact up to 2^53.
fn show_version(version: u64) {
    metrics::gauge!("consort_manifest_version").set(version as f64);
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
