//! Sessions before there is a node: a participant whose identity key and manifests lie under a key that its organisation's broker is
//! still to release. Evidence alone speaks for it, each side judges the other by a policy of the organisation's own, and what
//! a manifest is to other sessions, the roster is to these.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use consort_aggregation::Canonical;
use consort_attestation::Attester;
use consort_attestation::channel::{ChannelSettings, InForce, ManifestId, PeerDirectory, Rules};
use consort_contract::{Roster, SignedRoster};
use ed25519_dalek::SigningKey;
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use crate::config;
use crate::manifest::context;
use crate::node::{NodeConfig, NodeError};

/// What stands in the place of a manifest's hash: in the session, and in the statement about a released state key.
pub fn instead_of_a_manifest(roster: &Roster) -> [u8; 32] {
    let hash = Canonical::new("consort/key-release/state/v1")
        .bytes(roster.root().as_bytes())
        .hash();
    *hash.as_bytes()
}

/// The rules of such sessions: this policy (TOML), and these peers.
///
/// # Errors
/// [`NodeError`] names the file.
pub fn rules(
    node: &NodeConfig,
    roster: &Roster,
    policy: &Path,
    directory: Arc<dyn PeerDirectory>,
) -> Result<Arc<InForce>, NodeError> {
    let hash = instead_of_a_manifest(roster);
    Ok(Arc::new(InForce::new(Rules {
        verifier: Arc::new(node.verifier_by(policy)?),
        directory,
        // Genesis is version 1: no manifest is mistaken for this.
        manifest: ManifestId { version: 0, hash },
        replaces: None,
        context: context(roster, &hash),
    })))
}

/// A participant that starts.
pub struct Starting {
    /// Its side of the channel, with an identity key drawn for it.
    pub channel: ChannelSettings,
    /// What makes its evidence.
    pub attester: Arc<dyn Attester>,
    /// The roster that its members signed.
    pub roster: Roster,
}

impl Starting {
    /// Opens what needs no state key.
    ///
    /// # Errors
    /// [`NodeError`] names the file and what to do.
    pub fn open(
        node: &NodeConfig,
        policy: &Path,
        directory: Arc<dyn PeerDirectory>,
    ) -> Result<Self, NodeError> {
        let roster = config::load_json::<SignedRoster>(&node.roster)?.verify()?;
        let in_force = rules(node, &roster, policy, directory)?;
        let attester = node.attester.open()?;
        let mut seed = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(seed.as_mut());
        Ok(Self {
            channel: ChannelSettings {
                organisation: node.organisation.clone(),
                identity: SigningKey::from_bytes(&seed),
                attester: Arc::clone(&attester),
                in_force,
                clock: SystemTime::now,
            },
            attester,
            roster,
        })
    }
}
