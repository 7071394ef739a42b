//! The manifest in force: the manifests that this node saw, pinned in its state; what follows from the newest; and how a newer one
//! comes into force while the daemon runs.

mod history;
mod watch;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_aggregation::Digest;
use consort_attestation::channel::{ManifestId, Rules};
use consort_attestation::statements::SessionContext;
use consort_attestation::{Policy, TrustStore, Verifier};
use consort_contract::manifest::MAX_MANIFEST_BYTES;
use consort_contract::{Manifest, ManifestDocument, ManifestError, Roster, SignedManifest};
use consort_round::PROTOCOL_VERSION;

use crate::config::{self, ConfigError};
use crate::node::NodeError;
use crate::peers::RosterDirectory;

pub use history::{ManifestHistory, Taken};
pub use watch::{ALERT, LOOK_INTERVAL, ManifestChange, ManifestWatch, Offer, Offers};

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
    let hash = manifest.hash();
    Rules {
        verifier: Arc::new(verifier),
        directory: Arc::new(RosterDirectory(roster.clone())),
        manifest: ManifestId {
            version: manifest.version(),
            hash: *hash.as_bytes(),
        },
        replaces: manifest.previous().map(|previous| *previous.as_bytes()),
        context: context(roster, hash.as_bytes()),
    }
}

/// What connections are about that serve all jobs of a consortium under a manifest.
pub fn context(roster: &Roster, manifest: &[u8; 32]) -> SessionContext {
    let consortium = Digest::of(roster.consortium().as_str().as_bytes());
    SessionContext::new(PROTOCOL_VERSION, consortium.as_bytes(), manifest, b"")
}

#[cfg(test)]
mod tests;
