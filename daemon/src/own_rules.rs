//! Rules of an organisation's own beside the consortium's: another policy and other peers, under the same roots and the manifest in
//! force. An organisation and its key broker judge each other by them; nobody else is let in by them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use consort_attestation::Verifier;
use consort_attestation::channel::{InForce, ManifestId, PeerDirectory, Rules};
use consort_attestation::statements::SessionContext;

use crate::manifest::ALERT;
use crate::node::{Node, NodeConfig, NodeError};
use crate::starting;

/// A policy and peers of an organisation's own.
pub struct OwnRules {
    consortium: Arc<InForce>,
    config: NodeConfig,
    policy: PathBuf,
    directory: Arc<dyn PeerDirectory>,
    /// What sessions are about in place of the manifest in force.
    instead: Option<(ManifestId, SessionContext)>,
    own: Arc<InForce>,
    /// The consortium's rules that the own ones were made beside.
    beside: Mutex<Arc<Rules>>,
}

impl OwnRules {
    /// Judges these peers by this policy (TOML).
    ///
    /// # Errors
    /// [`NodeError`] names the file.
    pub fn new(
        node: &Node,
        policy: &Path,
        directory: Arc<dyn PeerDirectory>,
    ) -> Result<Self, NodeError> {
        let verifier = Arc::new(node.config.verifier_by(policy)?);
        let beside = node.in_force.rules();
        let own = InForce::new(Rules {
            verifier,
            directory: Arc::clone(&directory),
            manifest: beside.manifest,
            replaces: beside.replaces,
            context: beside.context,
        });
        Ok(Self::beside(node, policy, directory, Arc::new(own), beside))
    }

    /// Judges a participant that starts, which knows of no manifest yet, by this policy (TOML).
    ///
    /// # Errors
    /// [`NodeError`] names the file.
    pub fn of_starting(
        node: &Node,
        policy: &Path,
        directory: Arc<dyn PeerDirectory>,
    ) -> Result<Self, NodeError> {
        let beside = node.in_force.rules();
        let own = starting::rules(&node.config, &node.roster, policy, Arc::clone(&directory))?;
        let about = own.rules();
        Ok(Self {
            instead: Some((about.manifest, about.context)),
            ..Self::beside(node, policy, directory, own, beside)
        })
    }

    fn beside(
        node: &Node,
        policy: &Path,
        directory: Arc<dyn PeerDirectory>,
        own: Arc<InForce>,
        beside: Arc<Rules>,
    ) -> Self {
        Self {
            consortium: Arc::clone(&node.in_force),
            config: node.config.clone(),
            policy: policy.to_owned(),
            directory,
            instead: None,
            own,
            beside: Mutex::new(beside),
        }
    }

    /// What is in force now. A manifest, or other roots and collateral, that came into force since the last time are taken over: the own
    /// policy is read again with the files, sessions that live are judged again by it, and statements are about the new manifest from now on.
    pub fn now(&self) -> Arc<InForce> {
        let now = self.consortium.rules();
        // Nothing panics between two changes under the lock.
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&beside, &now) {
            let verifier = match self.config.verifier_by(&self.policy) {
                Ok(verifier) => Arc::new(verifier),
                Err(error) => {
                    tracing::error!(target: ALERT, alert = "own_policy_refused", code = error.code(), %error, "the organisation's own policy cannot be read again; what was in force stays so");
                    Arc::clone(&self.own.rules().verifier)
                }
            };
            let rules = self.under(&now, verifier);
            let dropped = self.own.replace(rules, SystemTime::now());
            tracing::info!(
                dropped = dropped.len(),
                "the organisation's own rules follow the consortium's"
            );
            *beside = now;
        }
        drop(beside);
        Arc::clone(&self.own)
    }

    fn under(&self, now: &Rules, verifier: Arc<Verifier>) -> Rules {
        let (manifest, replaces, context) = match self.instead {
            Some((manifest, context)) => (manifest, None, context),
            None => (now.manifest, now.replaces, now.context),
        };
        Rules {
            verifier,
            directory: Arc::clone(&self.directory),
            manifest,
            replaces,
            context,
        }
    }
}
