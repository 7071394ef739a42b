//! Rules of an organisation's own beside the consortium's: another policy and other peers, under the same roots and the manifest in
//! force. An organisation and its key broker judge each other by them; nobody else is let in by them.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use consort_attestation::Verifier;
use consort_attestation::channel::{InForce, PeerDirectory, Rules};

use crate::node::{Node, NodeError};

/// A policy and peers of an organisation's own.
pub struct OwnRules {
    consortium: Arc<InForce>,
    verifier: Arc<Verifier>,
    directory: Arc<dyn PeerDirectory>,
    own: Arc<InForce>,
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
        let own = InForce::new(under(&consortium, &verifier, &directory));
        Ok(Self {
            consortium,
            verifier,
            directory,
            own: Arc::new(own),
        })
    }

    /// What is in force now. A manifest that came into force since the last time is taken over: sessions that live are judged
    /// again by the own policy, and statements are about the new manifest from now on.
    pub fn now(&self) -> Arc<InForce> {
        if self.own.rules().manifest != self.consortium.rules().manifest {
            let rules = under(&self.consortium, &self.verifier, &self.directory);
            let dropped = self.own.replace(rules, SystemTime::now());
            tracing::info!(
                dropped = dropped.len(),
                "the organisation's own rules follow the new manifest"
            );
        }
        Arc::clone(&self.own)
    }
}

fn under(
    consortium: &InForce,
    verifier: &Arc<Verifier>,
    directory: &Arc<dyn PeerDirectory>,
) -> Rules {
    let now = consortium.rules();
    Rules {
        verifier: Arc::clone(verifier),
        directory: Arc::clone(directory),
        manifest: now.manifest,
        replaces: now.replaces,
        context: now.context,
    }
}
