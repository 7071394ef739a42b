//! The exchange itself: each side proves itself over both nonces, and judges the other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use consort_aggregation::Canonical;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use rand_core::{OsRng, RngCore as _};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::error::{ChannelError, CorrelationId, PeerRefused, RefusalCause};
use super::messages::{Hello, MAX_ORGANISATION_BYTES, Opening, Proof, Verdict};
use super::peer::{SessionId, VerifiedPeer};
use super::tls::Binding;
use super::{ChannelSettings, frame};
use crate::attester::AttesterFault;
use crate::evidence::Evidence;
use crate::machine::IdentityKey;
use crate::statements::{self, Role, Session, Statement};
use crate::verify::Expected;

/// The accepting side. The server speaks first, and shows its evidence to a client that has proven itself alone.
pub(super) async fn serve<T>(
    stream: &mut T,
    party: &Party,
    binding: &Binding,
) -> Result<VerifiedPeer, ChannelError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let server = random();
    frame::write(stream, &Hello { nonce: server }.to_bytes()).await?;
    let opening = frame::read(stream, party.max_frame_bytes()).await?;
    let opening =
        Opening::from_bytes(&opening).map_err(|_| ChannelError::Malformed("an opening"))?;
    let nonces = Nonces {
        server,
        client: opening.nonce,
    };
    let peer = match party.judge(opening.proof, binding, nonces) {
        Ok(peer) => peer,
        Err(refused) => return Err(refuse(stream, refused).await),
    };
    frame::write(stream, &party.prove(binding, nonces).await?.to_bytes()).await?;
    let verdict = frame::read(stream, party.max_frame_bytes()).await?;
    match Verdict::from_bytes(&verdict).ok_or(ChannelError::Malformed("a verdict"))? {
        Verdict::Accepted => Ok(peer),
        Verdict::Refused(reason, correlation) => Err(ChannelError::RefusedByPeer {
            reason,
            correlation,
        }),
    }
}

/// The connecting side.
pub(super) async fn open<T>(
    stream: &mut T,
    party: &Party,
    binding: &Binding,
) -> Result<VerifiedPeer, ChannelError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let hello = frame::read(stream, party.max_frame_bytes()).await?;
    let hello = Hello::from_bytes(&hello).map_err(|_| ChannelError::Malformed("a hello"))?;
    let nonces = Nonces {
        server: hello.nonce,
        client: random(),
    };
    let opening = Opening {
        nonce: nonces.client,
        proof: party.prove(binding, nonces).await?,
    };
    frame::write(stream, &opening.to_bytes()).await?;
    let answer = frame::read(stream, party.max_frame_bytes()).await?;
    if let Some(Verdict::Refused(reason, correlation)) = Verdict::from_bytes(&answer) {
        return Err(ChannelError::RefusedByPeer {
            reason,
            correlation,
        });
    }
    let proof = Proof::from_bytes(&answer).map_err(|_| ChannelError::Malformed("a proof"))?;
    match party.judge(proof, binding, nonces) {
        Ok(peer) => {
            frame::write(stream, &Verdict::Accepted.to_bytes()).await?;
            Ok(peer)
        }
        Err(refused) => Err(refuse(stream, refused).await),
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

    pub(super) fn now(&self) -> SystemTime {
        (self.settings.clock)()
    }

    /// How long handshake and exchange may take together, by the policy.
    pub(super) fn exchange_timeout(&self) -> Duration {
        self.settings.verifier.policy().session().exchange_timeout
    }

    /// How long a connection lives, by the policy.
    pub(super) fn max_age(&self) -> Duration {
        self.settings.verifier.policy().session().max_age
    }

    fn max_frame_bytes(&self) -> usize {
        self.settings.verifier.policy().session().max_frame_bytes
    }

    /// The own proof. The attester may block, so it is asked on a thread of its own.
    async fn prove(&self, binding: &Binding, nonces: Nonces) -> Result<Proof, ChannelError> {
        let statement = self.statement(
            self.role,
            &binding.own_spki,
            &binding.peer_spki,
            binding,
            nonces,
        );
        let (attester, report_data) =
            (Arc::clone(&self.settings.attester), statement.report_data());
        let attested = tokio::task::spawn_blocking(move || attester.attest(report_data)).await;
        let evidence = attested.map_err(|_| AttesterFault::new("the attester panicked"))??;
        Ok(Proof {
            organisation: self.settings.organisation.clone(),
            identity_key: IdentityKey::new(self.settings.identity.verifying_key().to_bytes()),
            signature: self.settings.identity.sign(statement.bytes()).to_bytes(),
            evidence: evidence.to_bytes(),
        })
    }

    /// The peer's proof: first who it says it is, then its signature, then its evidence, the dearest check last.
    fn judge(
        &self,
        proof: Proof,
        binding: &Binding,
        nonces: Nonces,
    ) -> Result<VerifiedPeer, Box<PeerRefused>> {
        let role = self.peer_role;
        match self.check(&proof, role, binding, nonces) {
            Ok((claims, evidence)) => Ok(VerifiedPeer {
                organisation: proof.organisation,
                identity_key: proof.identity_key,
                role,
                claims,
                evidence,
                session_id: self.session_id(binding, nonces),
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
        role: Role,
        binding: &Binding,
        nonces: Nonces,
    ) -> Result<(crate::Claims, Evidence), RefusalCause> {
        let directory = &self.settings.directory;
        let machine = directory.expected(role, &proof.organisation, &proof.identity_key);
        let machine = machine.map_err(RefusalCause::Directory)?;
        let statement =
            self.statement(role, &binding.peer_spki, &binding.own_spki, binding, nonces);
        let signature = Signature::from_bytes(&proof.signature);
        VerifyingKey::from_bytes(proof.identity_key.as_bytes())
            .and_then(|key| key.verify_strict(statement.bytes(), &signature))
            .map_err(|_| RefusalCause::IdentitySignature)?;
        let evidence = Evidence::from_bytes(&proof.evidence).map_err(RefusalCause::Evidence)?;
        let expected = Expected {
            machine: &machine,
            report_data: statement.report_data(),
        };
        let claims = self
            .settings
            .verifier
            .verify(&evidence, &expected, self.now());
        Ok((claims.map_err(RefusalCause::Evidence)?, evidence))
    }

    fn statement(
        &self,
        role: Role,
        own_spki: &[u8],
        peer_spki: &[u8],
        binding: &Binding,
        nonces: Nonces,
    ) -> Statement {
        statements::session(&Session {
            role,
            own_spki,
            peer_spki,
            exporter: &binding.exporter,
            server_nonce: &nonces.server,
            client_nonce: &nonces.client,
            context: self.settings.context,
        })
    }

    fn session_id(&self, binding: &Binding, nonces: Nonces) -> SessionId {
        let hash = Canonical::new("consort/attest/session-id/v1")
            .bytes(&binding.exporter)
            .bytes(&nonces.server)
            .bytes(&nonces.client)
            .bytes(self.settings.context.as_bytes())
            .hash();
        SessionId::new(*hash.as_bytes())
    }
}

/// Fresh bytes of the operating system.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}
