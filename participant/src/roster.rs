//! Joining a consortium by hand: make an identity, then sign the roster after looking at it.

use std::io::Write;
use std::path::Path;

use consort_aggregation::Digest;
use consort_contract::identity::hex;
use consort_contract::{OrganisationId, RosterEntry, SignedRoster};
use consort_daemon::config::load_json;
use consort_daemon::node::NodeError;

use crate::config::Config;
use crate::error::ParticipantError;

/// Makes this organisation's identity key, sealed, unless it is there, and its roster entry for whoever writes the roster.
///
/// # Errors
/// [`ParticipantError`] names the file and what to do.
pub fn init(config: &Config) -> Result<RosterEntry, ParticipantError> {
    OrganisationId::new(&config.node.organisation)?;
    Ok(config.node.init()?)
}

/// Signs the roster file as this organisation, when it names this organisation with its own key and machine. Gives the
/// fingerprint that the founders compare out of band.
///
/// # Errors
/// [`ParticipantError`]: the roster cannot be read, or does not name this node. The file is unchanged then.
pub fn sign_roster(config: &Config) -> Result<Digest, ParticipantError> {
    let organisation = OrganisationId::new(&config.node.organisation)?;
    // `init` again makes nothing new: it reads the identity and gives the same entry.
    let own = config.node.init()?;
    let mut roster: SignedRoster = load_json(&config.node.roster)?;
    if roster.document.members.get(&organisation) != Some(&own) {
        return Err(NodeError::NotInRoster(organisation.to_string()).into());
    }
    let signature = roster.document.sign(&config.node.identity()?);
    roster.signatures.insert(organisation, hex(&signature.0));
    let text = serde_json::to_string_pretty(&roster).expect("a roster is plain text");
    replace(&config.node.roster, text.as_bytes()).map_err(|source| NodeError::State {
        path: config.node.roster.clone(),
        source,
    })?;
    Ok(roster.document.root())
}

/// Replaces a file in one step.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}
