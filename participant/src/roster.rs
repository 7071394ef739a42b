//! Joining a consortium by hand: make an identity, then sign the roster and the manifest after looking at them.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use consort_aggregation::Digest;
use consort_contract::identity::hex;
use consort_contract::{ManifestError, OrganisationId, RosterEntry, SignedManifest, SignedRoster};
use consort_daemon::config::load_json;
use consort_daemon::manifest::{self, ManifestHistory};
use consort_daemon::node::NodeError;

use crate::config::Config;
use crate::error::ParticipantError;
use crate::kept;

/// Makes this organisation's identity key, sealed, unless it is there, and its roster entry for whoever writes the roster.
///
/// # Errors
/// [`ParticipantError`] names the file and what to do.
pub async fn init(config: &Config) -> Result<RosterEntry, ParticipantError> {
    OrganisationId::new(&config.node.organisation)?;
    let key = kept::first_state_key(config).await?;
    kept::begin(&config.node, &key)?;
    Ok(config.node.init(&key)?)
}

/// Signs the roster file as this organisation, when it names this organisation with its own key and machine. Gives the
/// fingerprint that the founders compare out of band.
///
/// # Errors
/// [`ParticipantError`]: the roster cannot be read, or does not name this node. The file is unchanged then.
pub async fn sign_roster(config: &Config) -> Result<Digest, ParticipantError> {
    let organisation = OrganisationId::new(&config.node.organisation)?;
    // `init` again makes nothing new: it reads the identity and gives the same entry.
    let key = kept::state_key(config).await?;
    let own = config.node.init(&key)?;
    let mut roster: SignedRoster = load_json(&config.node.roster)?;
    if roster.document.members.get(&organisation) != Some(&own) {
        return Err(NodeError::NotInRoster(organisation.to_string()).into());
    }
    let signature = roster.document.sign(&config.node.identity(&key)?);
    roster.signatures.insert(organisation, hex(&signature.0));
    let text = serde_json::to_string_pretty(&roster).expect("a roster is plain text");
    replace(&config.node.roster, text.as_bytes()).map_err(|source| NodeError::State {
        path: config.node.roster.clone(),
        source,
    })?;
    Ok(roster.document.root())
}

/// Signs a manifest as this organisation: the file that is given, or the one that the configuration names. It must be for this
/// organisation's roster, follow what this node has in force, and be one that this node can judge by.
///
/// # Errors
/// [`ParticipantError`] says what is wrong with it. The file is unchanged then.
pub async fn sign_manifest(
    config: &Config,
    file: Option<&Path>,
) -> Result<SignedManifest, ParticipantError> {
    let node = &config.node;
    let organisation = OrganisationId::new(&node.organisation)?;
    let key = kept::state_key(config).await?;
    let own = node.init(&key)?;
    let roster: SignedRoster = load_json(&node.roster)?;
    if roster.document.members.get(&organisation) != Some(&own) {
        return Err(NodeError::NotInRoster(organisation.to_string()).into());
    }
    let path = file.unwrap_or(&node.manifest);
    let mut manifest = manifest::read(path)?;
    let refused = |source| NodeError::Manifest {
        path: path.to_owned(),
        source,
    };
    let document = &manifest.document;
    let (expected, found) = (roster.document.root(), document.roster);
    if expected != found {
        return Err(refused(ManifestError::Roster { expected, found }).into());
    }
    // Founders sign before the roster has all its signatures: there is nothing in force then.
    match roster.verify() {
        Ok(roster) => {
            let seen = node.manifests(&Arc::new(roster), &key)?;
            document.follows(seen.newest()).map_err(refused)?;
        }
        // Where manifests of this roster were in force, an unsigned copy of it must not hide them.
        Err(error) if ManifestHistory::has_begun(&node.state_dir, &found) => {
            return Err(NodeError::Roster(error).into());
        }
        Err(_) => document.follows(None).map_err(refused)?,
    }
    drop(manifest::verifier(document, &node.roots)?);
    let signature = document.sign(&node.identity(&key)?);
    manifest.add(organisation, &signature);
    replace(path, manifest.to_json().as_bytes()).map_err(|source| NodeError::State {
        path: path.to_owned(),
        source,
    })?;
    Ok(manifest)
}

/// Replaces a file in one step.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}
