//! How a newer manifest comes into force while the daemon runs: from its file, which is looked after, or as an offer of a peer's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use consort_aggregation::Digest;
use consort_attestation::channel::{Dropped, InForce, ManifestId};
use consort_contract::{Roster, SignedManifest};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::history::ManifestHistory;
use super::{bytes_of, parsed, rules, verifier};
use crate::node::NodeError;
use crate::roots::RootsWatch;

/// Between two looks at the file. A change is taken when two looks saw the same, so that no half-written file is judged: within
/// half a second of its last byte. A look reads and hashes one small file.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Offers that wait to be judged.
const OFFERS_WAITING: usize = 4;

/// A manifest that a peer handed over: untrusted bytes, judged like a file's.
pub struct Offer {
    /// The file, as it would be copied.
    pub bytes: Vec<u8>,
    /// Who handed it over, for the log.
    pub from: String,
    /// The version in force afterwards, or why it was not taken.
    pub answer: oneshot::Sender<Result<u64, NodeError>>,
}

/// Where offers are made to a watch.
#[derive(Debug, Clone)]
pub struct Offers(mpsc::Sender<Offer>);

impl Offers {
    /// Offers a manifest and waits for the verdict; `None` when nobody looks after manifests any more.
    pub async fn make(&self, bytes: Vec<u8>, from: &str) -> Option<Result<u64, NodeError>> {
        let (answer, verdict) = oneshot::channel();
        let offer = Offer {
            bytes,
            from: from.to_owned(),
            answer,
        };
        self.0.send(offer).await.ok()?;
        verdict.await.ok()
    }
}

/// Looks after the manifest's file while the daemon runs.
pub struct ManifestWatch {
    path: PathBuf,
    roots: RootsWatch,
    roster: Arc<Roster>,
    history: ManifestHistory,
    in_force: Arc<InForce>,
    /// What was seen last, and what was taken last: hashes of the file's bytes.
    seen: Digest,
    taken: Digest,
    failed: Option<Failed>,
    offers: Offers,
    offered: mpsc::Receiver<Offer>,
}

/// Content of the file that was not taken. It is tried again: a disk may have been full, a root may have been missing, the
/// manifests between may have been adopted since.
struct Failed {
    content: Digest,
    code: &'static str,
    looks: u32,
}

/// Looks between two tries of content that was not taken: five seconds.
pub(super) const RETRY_LOOKS: u32 = 25;

/// A manifest that came into force while the daemon ran, or other roots, revocation lists or collateral under the one in force.
#[derive(Debug)]
pub struct ManifestChange {
    /// The manifest.
    pub manifest: ManifestId,
    /// Whether it was not in force before.
    pub is_new: bool,
    /// The members that signed it.
    pub signed_by: Vec<String>,
    /// The hashes of the simulated roots that its policy accepts.
    pub simulated_roots: usize,
    /// The sessions whose evidence failed it; they are cut already.
    pub dropped: Vec<Dropped>,
}

impl ManifestWatch {
    pub(crate) fn new(
        path: PathBuf,
        roots: Vec<PathBuf>,
        roster: Arc<Roster>,
        history: ManifestHistory,
        in_force: Arc<InForce>,
    ) -> Self {
        let was_in_force = |bytes: &Vec<u8>| {
            SignedManifest::from_json(bytes).is_ok_and(|file| history.has(&file.document.hash()))
        };
        // Where the newest came from elsewhere, the file may be older, which was said at the start.
        let known = bytes_of(&path).ok().filter(was_in_force);
        let taken = Digest::of(&known.unwrap_or_default());
        let (offers, offered) = mpsc::channel(OFFERS_WAITING);
        Self {
            path,
            roots: RootsWatch::new(roots),
            roster,
            history,
            in_force,
            seen: taken,
            taken,
            failed: None,
            offers: Offers(offers),
            offered,
        }
    }

    /// Where peers' manifests are offered to this watch.
    pub fn offers(&self) -> Offers {
        self.offers.clone()
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
        let roots = self.roots.files();
        let taken = self.history.take_signed(&self.path, signed, roots)?;
        let simulated_roots = taken.verifier.policy().simulated_roots().len();
        let signatures = taken.manifest.signed().signatures.keys();
        let signed_by = signatures.map(ToString::to_string).collect();
        let rules = rules(&self.roster, &taken.manifest, taken.verifier);
        let manifest = rules.manifest;
        if manifest == self.in_force.rules().manifest {
            return Ok(None);
        }
        Ok(Some(ManifestChange {
            manifest,
            is_new: true,
            signed_by,
            simulated_roots,
            dropped: self.in_force.replace(rules, now),
        }))
    }

    /// One look at the files of roots, revocation lists and collateral, now and then. What they hold is put in force under the manifest that
    /// is, and the sessions that live are judged again.
    ///
    /// # Errors
    /// [`NodeError`], once for each content: what was in force stays so.
    pub fn look_at_roots(&mut self, now: SystemTime) -> Result<Option<ManifestChange>, NodeError> {
        if !self.roots.has_changed() {
            return Ok(None);
        }
        // One that was adopted and is not in force yet reads the files when it comes into force.
        let in_force = self.in_force.rules().manifest.hash;
        let newest = self.history.newest().cloned();
        let Some(manifest) = newest.filter(|newest| *newest.hash().as_bytes() == in_force) else {
            return Ok(None);
        };
        let verifier = verifier(&manifest.signed().document, self.roots.files())?;
        let simulated_roots = verifier.policy().simulated_roots().len();
        let rules = rules(&self.roster, &manifest, verifier);
        Ok(Some(ManifestChange {
            manifest: rules.manifest,
            is_new: false,
            signed_by: Vec::new(),
            simulated_roots,
            dropped: self.in_force.replace(rules, now),
        }))
    }

    /// Judges and takes a manifest that a peer handed over, as one in the file is.
    ///
    /// # Errors
    /// [`NodeError`]: what was in force stays so.
    pub fn take_offered(
        &mut self,
        bytes: &[u8],
        from: &str,
        now: SystemTime,
    ) -> Result<Option<ManifestChange>, NodeError> {
        let source = std::mem::replace(&mut self.path, PathBuf::from(from));
        let taken = self.take(bytes, now);
        self.path = source;
        taken
    }

    /// Looks for ever, judges what peers offer, says in the log what came of it, and tells of each change.
    pub async fn keep(mut self, mut changed: impl FnMut(ManifestChange)) {
        show_version(self.in_force.rules().manifest.version);
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Looks first: whoever offers without end does not keep the file from being looked at.
            let offer = tokio::select! {
                biased;
                _ = looks.tick() => None,
                offer = self.offered.recv() => offer,
            };
            // Judging every session takes milliseconds for each.
            let looked = tokio::task::spawn_blocking(move || {
                let now = SystemTime::now();
                let found = match &offer {
                    Some(offer) => self.take_offered(&offer.bytes, &offer.from, now),
                    None => self.look(now),
                };
                let roots = self.look_at_roots(now);
                (self, offer, found, roots)
            });
            let Ok((watch, offer, found, roots)) = looked.await else {
                tracing::error!(target: ALERT, alert = "manifest_watch_lost", "the manifest's file is not looked after any more; restart this daemon");
                return;
            };
            self = watch;
            let aged = self.in_force.cut_aged();
            if aged > 0 {
                tracing::info!(
                    aged,
                    "connections past their age were cut; their peers attest anew"
                );
            }
            let from = offer
                .as_ref()
                .map_or("its file", |offer| offer.from.as_str());
            let found = told(found, from, "manifest_refused", &mut changed);
            // It says itself what could not be used.
            let _ = told(roots, "their files", "trust_files_refused", &mut changed);
            if let Some(offer) = offer {
                let verdict = found.map(|()| self.in_force.rules().manifest.version);
                // Who offered may have gone.
                let _ = offer.answer.send(verdict);
            }
        }
    }
}

/// Says what came of a look or an offer, and passes a change on.
fn told(
    found: Result<Option<ManifestChange>, NodeError>,
    from: &str,
    refused: &'static str,
    changed: &mut impl FnMut(ManifestChange),
) -> Result<(), NodeError> {
    match found {
        Ok(None) => Ok(()),
        Ok(Some(change)) => {
            tell(&change, from);
            changed(change);
            Ok(())
        }
        Err(error) => {
            tracing::error!(target: ALERT, alert = refused, code = error.code(), %error, from, "what was changed or handed over cannot be used; what was in force stays so");
            Err(error)
        }
    }
}

/// The target of events that a person should look at.
pub const ALERT: &str = "consort::alert";

/// What came into force, where it came from and who signed it: what is believed of peers never changes silently.
fn tell(change: &ManifestChange, from: &str) {
    let version = change.manifest.version;
    let hash = Digest::new(change.manifest.hash);
    let (dropped, signed_by) = (change.dropped.len(), change.signed_by.join(", "));
    if change.is_new {
        tracing::warn!(target: ALERT, alert = "manifest_in_force", version, %hash, dropped, from, signed_by, "a new manifest is in force");
    } else {
        tracing::info!(version, %hash, dropped, "other roots, revocation lists or collateral are in force");
    }
    show_version(version);
    if change.is_new && change.simulated_roots > 0 {
        tracing::warn!(target: ALERT, alert = "dangerous_simulated_roots", version, "the new manifest accepts SIMULATED machines: their evidence proves nothing about hardware");
    }
    for dropped in &change.dropped {
        let (peer, code) = (dropped.peer.organisation(), dropped.cause.code());
        tracing::error!(target: ALERT, alert = "session_dropped", organisation = peer, code, version, "a session's evidence fails what is in force now; it is cut");
    }
}

/// Exact up to 2^53.
fn show_version(version: u64) {
    metrics::gauge!("consort_manifest_version").set(version as f64);
}
