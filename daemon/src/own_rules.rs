//! Rules of an organisation's own beside the consortium's: another policy and other peers, under the same roots and the manifest in
//! force. An organisation and its key broker judge each other by them; nobody else is let in by them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use consort_attestation::Verifier;
use consort_attestation::channel::{InForce, PeerDirectory, Rules};

use crate::manifest::ALERT;
use crate::node::{Node, NodeConfig, NodeError};

/// A policy and peers of an organisation's own.
pub struct OwnRules {
    consortium: Arc<InForce>,
    config: NodeConfig,
    policy: PathBuf,
    directory: Arc<dyn PeerDirectory>,
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
        let consortium = Arc::clone(&node.in_force);
        let beside = consortium.rules();
        let own = InForce::new(under(&beside, verifier, &directory));
        Ok(Self {
            consortium,
            config: node.config.clone(),
            policy: policy.to_owned(),
            directory,
            own: Arc::new(own),
            beside: Mutex::new(beside),
        })
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
            let rules = under(&now, verifier, &self.directory);
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
}

fn under(now: &Rules, verifier: Arc<Verifier>, directory: &Arc<dyn PeerDirectory>) -> Rules {
    Rules {
        verifier,
        directory: Arc::clone(directory),
        manifest: now.manifest,
        replaces: now.replaces,
        context: now.context,
    }
}
