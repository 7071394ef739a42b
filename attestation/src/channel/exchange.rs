//! The exchange itself: each side proves itself over both nonces, and judges the other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use consort_aggregation::Canonical;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use rand_core::{OsRng, RngCore as _};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::error::{
    ChannelError, CoarseReason, CorrelationId, ManifestDifference, PeerRefused, RefusalCause,
};
use super::in_force::{LiveSession, ManifestId, Rules};
use super::messages::{Hello, MAX_ORGANISATION_BYTES, Opening, Proof, Verdict};
use super::own_certificate::attest;
use super::peer::{SessionId, VerifiedPeer};
use super::tls::Binding;
use super::{ChannelSettings, frame};
use crate::evidence::Evidence;
use crate::machine::IdentityKey;
use crate::statements::{self, ReportData, Role, Session, Statement};
use crate::verify::Expected;

/// One exchange: by the rules that were in force when it began, over one TLS session.
pub(super) struct Exchange<'a> {
    party: &'a Party,
    rules: Arc<Rules>,
    binding: Binding,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(party: &'a Party, binding: Binding) -> Self {
        let rules = party.rules();
        Self {
            party,
            rules,
            binding,
        }
    }

    /// The accepting side. The server speaks first, and shows its evidence to a client that has proven itself alone.
    pub(super) async fn serve<T>(self, stream: &mut T) -> Result<Arc<LiveSession>, ChannelError>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = Hello {
            nonce: random(),
            manifest: self.rules.manifest,
        };
        frame::write(stream, &hello.to_bytes()).await?;
        let opening = frame::read(stream, self.max_frame_bytes()).await?;
        let opening =
            Opening::from_bytes(&opening).map_err(|_| ChannelError::Malformed("an opening"))?;
        let nonces = Nonces {
            server: hello.nonce,
            client: opening.nonce,
        };
        let peer = match self.judge(opening.proof, opening.manifest, nonces) {
            Ok(peer) => peer,
            Err(refused) => return Err(refuse(stream, refused).await),
        };
        frame::write(stream, &self.prove(nonces).await?.to_bytes()).await?;
        let verdict = frame::read(stream, self.max_frame_bytes()).await?;
        match Verdict::from_bytes(&verdict).ok_or(ChannelError::Malformed("a verdict"))? {
            Verdict::Accepted => self.admit(peer),
            Verdict::Refused(reason, correlation) => {
                Err(self.refused(reason, correlation, opening.manifest))
            }
        }
    }

    /// The connecting side.
    pub(super) async fn open<T>(self, stream: &mut T) -> Result<Arc<LiveSession>, ChannelError>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = frame::read(stream, self.max_frame_bytes()).await?;
        let hello = Hello::from_bytes(&hello).map_err(|_| ChannelError::Malformed("a hello"))?;
        let nonces = Nonces {
            server: hello.nonce,
            client: random(),
        };
        // Also to a server with another manifest: it shall know and say who has which.
        let opening = Opening {
            nonce: nonces.client,
            manifest: self.rules.manifest,
            proof: self.prove(nonces).await?,
        };
        frame::write(stream, &opening.to_bytes()).await?;
        let answer = frame::read(stream, self.max_frame_bytes()).await?;
        if let Some(Verdict::Refused(reason, correlation)) = Verdict::from_bytes(&answer) {
            return Err(self.refused(reason, correlation, hello.manifest));
        }
        let proof = Proof::from_bytes(&answer).map_err(|_| ChannelError::Malformed("a proof"))?;
        match self.judge(proof, hello.manifest, nonces) {
            Ok(peer) => {
                frame::write(stream, &Verdict::Accepted.to_bytes()).await?;
                self.admit(peer)
            }
            Err(refused) => Err(refuse(stream, refused).await),
        }
    }

    /// Rules that came into force during the exchange have the last word.
    fn admit(&self, peer: VerifiedPeer) -> Result<Arc<LiveSession>, ChannelError> {
        let in_force = &self.party.settings.in_force;
        let admitted = in_force.admit(peer, Arc::clone(&self.rules), self.party.now());
        admitted.map_err(|(peer, cause)| {
            ChannelError::PeerRefused(Box::new(PeerRefused {
                organisation: peer.organisation,
                identity_key: peer.identity_key,
                role: peer.role,
                cause,
                correlation: CorrelationId::new(random()),
                evidence: peer.evidence.to_bytes(),
            }))
        })
    }

    /// What the peer made of this side.
    fn refused(
        &self,
        reason: CoarseReason,
        correlation: CorrelationId,
        peer: ManifestId,
    ) -> ChannelError {
        let own = self.rules.manifest;
        match reason {
            CoarseReason::Manifest => {
                ChannelError::ManifestDiffers(ManifestDifference { own, peer }, correlation)
            }
            CoarseReason::NotEnrolled | CoarseReason::Identity | CoarseReason::Evidence => {
                ChannelError::RefusedByPeer {
                    reason,
                    correlation,
                }
            }
        }
    }

    fn max_frame_bytes(&self) -> usize {
        self.rules.verifier.policy().session().max_frame_bytes
    }

    /// The own proof. The attester may block, so it is asked on a thread of its own.
    async fn prove(&self, nonces: Nonces) -> Result<Proof, ChannelError> {
        let settings = &self.party.settings;
        let (own, peer) = (&self.binding.own_spki, &self.binding.peer_spki);
        let statement = self.statement(self.party.role, own, peer, nonces);
        let evidence = attest(&settings.attester, statement.report_data()).await?;
        Ok(Proof {
            organisation: settings.organisation.clone(),
            identity_key: IdentityKey::new(settings.identity.verifying_key().to_bytes()),
            signature: settings.identity.sign(statement.bytes()).to_bytes(),
            evidence,
        })
    }

    /// The peer's proof: first who it says it is, then its signature, then its evidence, the dearest check last.
    fn judge(
        &self,
        proof: Proof,
        manifest: ManifestId,
        nonces: Nonces,
    ) -> Result<VerifiedPeer, Box<PeerRefused>> {
        let role = self.party.peer_role;
        match self.check(&proof, manifest, role, nonces) {
            Ok((claims, evidence, report_data)) => Ok(VerifiedPeer {
                organisation: proof.organisation,
                identity_key: proof.identity_key,
                role,
                claims,
                evidence,
                report_data,
                session_id: self.session_id(nonces),
            }),
            Err(cause) => Err(Box::new(PeerRefused {
                organisation: proof.organisation,
                identity_key: proof.identity_key,
                role,
                cause,
                correlation: CorrelationId::new(random()),
                evidence: proof.evidence,
            })),
        }
    }

    fn check(
        &self,
        proof: &Proof,
        manifest: ManifestId,
        role: Role,
        nonces: Nonces,
    ) -> Result<(crate::Claims, Evidence, ReportData), RefusalCause> {
        // A difference would fail at the signature, whose context covers the manifest: it is told apart here.
        let own = self.rules.manifest;
        if manifest != own {
            let peer = manifest;
            return Err(RefusalCause::Manifest(ManifestDifference { own, peer }));
        }
        let directory = &self.rules.directory;
        let machine = directory.expected(role, &proof.organisation, &proof.identity_key);
        let machine = machine.map_err(RefusalCause::Directory)?;
        let (own, peer) = (&self.binding.own_spki, &self.binding.peer_spki);
        let statement = self.statement(role, peer, own, nonces);
        let signature = Signature::from_bytes(&proof.signature);
        VerifyingKey::from_bytes(proof.identity_key.as_bytes())
            .and_then(|key| key.verify_strict(statement.bytes(), &signature))
            .map_err(|_| RefusalCause::IdentitySignature)?;
        let evidence = Evidence::from_bytes(&proof.evidence).map_err(RefusalCause::Evidence)?;
        let report_data = statement.report_data();
        let expected = Expected {
            machine: &machine,
            report_data,
        };
        let verifier = &self.rules.verifier;
        let claims = verifier
            .verify(&evidence, &expected, self.party.now())
            .map_err(RefusalCause::Evidence)?;
        Ok((claims, evidence, report_data))
    }

    fn statement(
        &self,
        role: Role,
        own_spki: &[u8],
        peer_spki: &[u8],
        nonces: Nonces,
    ) -> Statement {
        statements::session(&Session {
            role,
            own_spki,
            peer_spki,
            exporter: &self.binding.exporter,
            server_nonce: &nonces.server,
            client_nonce: &nonces.client,
            context: self.rules.context,
        })
    }

    fn session_id(&self, nonces: Nonces) -> SessionId {
        let hash = Canonical::new("consort/attest/session-id/v1")
            .bytes(&self.binding.exporter)
            .bytes(&nonces.server)
            .bytes(&nonces.client)
            .bytes(self.rules.context.as_bytes())
            .hash();
        SessionId::new(*hash.as_bytes())
    }
}

/// Tells the peer as much as it may know. Whether it hears that changes nothing.
async fn refuse<T: AsyncWrite + Unpin>(stream: &mut T, refused: Box<PeerRefused>) -> ChannelError {
    let verdict = Verdict::Refused(refused.cause.coarse(), refused.correlation);
    if frame::write(stream, &verdict.to_bytes()).await.is_ok() {
        let _heard = stream.shutdown().await;
    }
    ChannelError::PeerRefused(refused)
}

/// Both sides' nonces.
#[derive(Clone, Copy)]
pub(super) struct Nonces {
    server: [u8; 32],
    client: [u8; 32],
}

/// One side: who it is and by what it judges.
pub(super) struct Party {
    role: Role,
    /// The only role that the other side may play.
    peer_role: Role,
    settings: ChannelSettings,
}

impl Party {
    pub(super) fn new(
        role: Role,
        peer_role: Role,
        settings: ChannelSettings,
    ) -> Result<Self, ChannelError> {
        if settings.organisation.len() > MAX_ORGANISATION_BYTES {
            return Err(ChannelError::Name);
        }
        Ok(Self {
            role,
            peer_role,
            settings,
        })
    }

    /// The role that the peer must play.
    pub(super) fn peer_role(&self) -> Role {
        self.peer_role
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        self.settings.in_force.rules()
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.settings.clock)()
    }

    /// How long handshake and exchange may take together, by the policy.
    pub(super) fn exchange_timeout(&self) -> Duration {
        self.rules().verifier.policy().session().exchange_timeout
    }

    /// How long a connection lives, by the policy.
    pub(super) fn max_age(&self) -> Duration {
        self.rules().verifier.policy().session().max_age
    }
}

/// Fresh bytes of the operating system.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}
