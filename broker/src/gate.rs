//! The gate of a broker's ports: every connection is attested, and the verdict is in the log before the peer is spoken to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consort_aggregation::Digest;
use consort_attestation::channel::{
    self, AttestedStream, ChannelError, RefusalCause, ServerChannel,
};
use consort_attestation::{Evidence, Role};
use consort_audit::{Event, Fact, Hash};
use consort_daemon::record;
use consort_daemon::strangers::StrangerLimit;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use crate::journal::Journal;
use crate::release::ReleaseFault;

/// Handshakes at a time: each costs some 15 ms of a core, and strangers can cause them. A broker has one participant.
pub(crate) const HANDSHAKES: usize = 8;

/// Pause after the system refused a connection, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One port's gate.
pub(crate) struct Gate {
    pub(crate) channel: ServerChannel,
    pub(crate) journal: Arc<Journal>,
    /// Takes over a manifest that came into force since: the next connection is about that one.
    pub(crate) renew: Box<dyn Fn() + Send + Sync>,
    /// Where a failed disk is told: the daemon ends.
    pub(crate) faults: mpsc::UnboundedSender<ReleaseFault>,
}

impl Gate {
    /// Attests every connection; only those that pass reach the service.
    pub(crate) async fn admit(
        self: Arc<Self>,
        listener: TcpListener,
        admitted: mpsc::Sender<Result<AttestedStream, std::io::Error>>,
    ) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        let strangers = Arc::new(StrangerLimit::new(Instant::now()));
        loop {
            let Ok(permit) = handshakes.clone().acquire_owned().await else {
                return;
            };
            let Ok((stream, address)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (gate, admitted) = (Arc::clone(&self), admitted.clone());
            let strangers = Arc::clone(&strangers);
            tokio::spawn(async move {
                match gate.attest(&strangers, stream, address).await {
                    Ok(Some(stream)) => {
                        // The server is gone only when the daemon stops.
                        let _ = admitted.send(Ok(stream)).await;
                    }
                    Ok(None) => {}
                    Err(fault) => {
                        // The receiver is gone only when the daemon stops.
                        let _ = gate.faults.send(fault);
                    }
                }
                drop(permit);
            });
        }
    }

    /// The verdict is in the log before the peer is spoken to.
    async fn attest(
        &self,
        strangers: &StrangerLimit,
        stream: TcpStream,
        address: SocketAddr,
    ) -> Result<Option<AttestedStream>, ReleaseFault> {
        (self.renew)();
        let outcome = channel::accept(stream, &self.channel).await;
        let mut facts = Vec::new();
        if let Err(error) = &outcome
            && (error.is_of_a_stranger()
                || is_of_a_certificate(error)
                || is_of_a_starting_participant(error))
        {
            match strangers.recorded(address.ip(), Instant::now()) {
                Some(0) => {}
                Some(count) => {
                    facts.push(Fact::of_consortium(Event::RefusalsLeftOut { count }));
                }
                None => return Ok(None),
            }
        }
        let event = match &outcome {
            Ok(stream) => {
                let peer = stream.peer();
                Event::EvidenceVerdict {
                    organisation: record::organisation(peer.organisation()),
                    accepted: true,
                    code: record::code("accepted"),
                    simulated: peer.claims().simulated(),
                    report: Hash(*Digest::of(peer.evidence().report()).as_bytes()),
                }
            }
            Err(ChannelError::CertificateRefused(refused)) => {
                let (member, reason) = (refused.organisation.as_deref(), refused.reason.code());
                tracing::warn!(%address, member, code = reason, correlation = %refused.correlation, "a peer is refused in the handshake");
                let code = record::code(reason);
                match member {
                    Some(member) => Event::EvidenceVerdict {
                        organisation: record::organisation(member),
                        accepted: false,
                        code,
                        simulated: false,
                        report: report_hash(&refused.evidence),
                    },
                    None => Event::MemberRefused {
                        organisation: record::organisation(record::UNKNOWN),
                        code,
                    },
                }
            }
            Err(ChannelError::PeerRefused(refused)) => {
                let starting = refused.role == Role::StartingParticipant;
                tracing::warn!(%address, member = refused.organisation, role = %refused.role, code = refused.cause.code(), correlation = %refused.correlation, "a peer is refused");
                let (organisation, code) = (
                    record::organisation(&refused.organisation),
                    record::code(refused.cause.code()),
                );
                match refused.cause {
                    RefusalCause::Evidence(_) if !starting => Event::EvidenceVerdict {
                        organisation,
                        accepted: false,
                        code,
                        simulated: false,
                        report: report_hash(&refused.evidence),
                    },
                    RefusalCause::Evidence(_)
                    | RefusalCause::Directory(_)
                    | RefusalCause::IdentitySignature
                    | RefusalCause::Manifest(_) => Event::MemberRefused { organisation, code },
                }
            }
            Err(error) => {
                tracing::info!(%address, code = error.code(), %error, "a connection did not pass the gate");
                return Ok(None);
            }
        };
        let label = outcome
            .as_ref()
            .map_or_else(|error| error.code(), |_| "accepted");
        metrics::counter!("consort_evidence_verdicts_total", "code" => label).increment(1);
        let journal = Arc::clone(&self.journal);
        facts.push(Fact::of_consortium(event));
        let append = move || {
            let mut facts = facts.into_iter();
            facts.try_for_each(|fact| journal.append(fact))
        };
        let logged = tokio::task::spawn_blocking(append).await;
        logged.map_err(|_| ReleaseFault::Lost)??;
        Ok(outcome.ok())
    }
}

/// Whether a peer was refused in the handshake: no identity key has spoken then, and whoever runs machines for the organisation can do it.
fn is_of_a_certificate(error: &ChannelError) -> bool {
    matches!(error, ChannelError::CertificateRefused(_))
}

/// Whoever wants to shows bad evidence for a participant that starts: no key of the organisation's signed it.
fn is_of_a_starting_participant(error: &ChannelError) -> bool {
    match error {
        ChannelError::PeerRefused(refused) => refused.role == Role::StartingParticipant,
        ChannelError::CertificateRefused(refused) => refused.role == Role::StartingParticipant,
        ChannelError::Io(_)
        | ChannelError::Tls(_)
        | ChannelError::Timeout
        | ChannelError::FrameTooLarge
        | ChannelError::Malformed(_)
        | ChannelError::Name
        | ChannelError::Address
        | ChannelError::Attester(_)
        | ChannelError::CertificateRefusedByPeer(_)
        | ChannelError::ManifestDiffers(..)
        | ChannelError::RefusedByPeer { .. } => false,
    }
}

/// SHA-256 of the report in evidence; of all of it when it holds none.
fn report_hash(evidence: &[u8]) -> Hash {
    let report = Evidence::from_bytes(evidence).map(|evidence| Digest::of(evidence.report()));
    Hash(*report.unwrap_or_else(|_| Digest::of(evidence)).as_bytes())
}
