//! Channels, good and attacked. Every story runs inside the process, on an in-memory pipe or the loopback.

mod certificates;
mod handshake;
mod manifests;
mod renewal;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ed25519_dalek::{Signer as _, SigningKey};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower::Service as _;

use super::messages::{Hello, Opening, Proof, Verdict};
use super::own_certificate::OwnCertificate;
use super::tls::Binding;
use super::*;
use crate::attester::AttesterFault;
use crate::simulated::SimulatedMachine;
use crate::statements::{ReportData, Session, SessionContext, session};
use crate::tests::world;
use crate::{ChipId, Evidence, IdentityKey, MachineBinding, Reason};

const COORDINATOR: SimulatedMachine = world::MACHINE;
const CLINIC: SimulatedMachine = SimulatedMachine {
    chip_id: ChipId::new([0xC2; 64]),
    ..world::MACHINE
};

fn coordinator_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn clinic_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

/// The roster: one coordinator, one participant.
struct Roster;

impl PeerDirectory for Roster {
    fn expected(
        &self,
        role: Role,
        organisation: &str,
        key: &IdentityKey,
    ) -> Result<MachineBinding, Refused> {
        let (plays, identity, machine) = match organisation {
            "operator" => (Role::Coordinator, coordinator_key(), COORDINATOR),
            "clinic" => (Role::Participant, clinic_key(), CLINIC),
            _ => return Err(Refused::UnknownOrganisation),
        };
        if role != plays {
            return Err(Refused::Role);
        }
        if key.as_bytes() != identity.verifying_key().as_bytes() {
            return Err(Refused::IdentityKey);
        }
        Ok(machine.binding())
    }

    fn owner(&self, role: Role, machine: &MachineBinding) -> Option<String> {
        let entries = [
            ("operator", Role::Coordinator, COORDINATOR),
            ("clinic", Role::Participant, CLINIC),
        ];
        let its = |(_, plays, known): &(_, Role, SimulatedMachine)| {
            *plays == role && known.binding() == *machine
        };
        let found = entries.into_iter().find(its);
        found.map(|(name, _, _)| name.to_owned())
    }
}

/// What follows from a version of the manifest, with more lines for its policy's `[snp]`.
fn rules(version: u8, snp_lines: &str) -> Rules {
    let hash = [version; 32];
    Rules {
        verifier: Arc::new(world::verifier_with(snp_lines)),
        directory: Arc::new(Roster),
        manifest: ManifestId {
            version: version.into(),
            hash,
        },
        replaces: None,
        context: SessionContext::new(1, &[7; 32], &hash, b""),
    }
}

fn settings(
    organisation: &str,
    identity: SigningKey,
    machine: SimulatedMachine,
) -> ChannelSettings {
    ChannelSettings {
        organisation: organisation.to_owned(),
        identity,
        attester: Arc::new(world::vendor().attester(machine, world::start()).unwrap()),
        in_force: Arc::new(InForce::new(rules(1, ""))),
        clock: world::now,
    }
}

fn coordinator() -> ChannelSettings {
    settings("operator", coordinator_key(), COORDINATOR)
}

fn clinic() -> ChannelSettings {
    settings("clinic", clinic_key(), CLINIC)
}

type Outcome = Result<AttestedStream<DuplexStream>, ChannelError>;

/// Both sides' outcomes, server's first.
async fn meet(server: ChannelSettings, client: ChannelSettings) -> (Outcome, Outcome) {
    let (near, far) = duplex(256 * 1024);
    let (server, client) = (
        ServerChannel::new(server).unwrap(),
        ClientChannel::new(client).unwrap(),
    );
    tokio::join!(accept_on(near, &server), connect_on(far, &client))
}

/// The server refused for this cause, and told the client this much under the same correlation id.
fn assert_server_refused(
    (server, client): (Outcome, Outcome),
    cause: RefusalCause,
    told: CoarseReason,
) {
    assert_refused(server.unwrap_err(), client.unwrap_err(), cause, told);
}

fn assert_refused(
    judge: ChannelError,
    judged: ChannelError,
    cause: RefusalCause,
    told: CoarseReason,
) {
    let ChannelError::PeerRefused(refused) = judge else {
        panic!("{judge:?}")
    };
    assert_eq!(refused.cause, cause);
    let ChannelError::RefusedByPeer {
        reason,
        correlation,
    } = judged
    else {
        panic!("{judged:?}")
    };
    assert_eq!((reason, correlation), (told, refused.correlation));
}

#[tokio::test]
async fn two_good_sides_know_each_other_and_talk() {
    let (server, client) = meet(coordinator(), clinic()).await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    let (seen, own) = (Arc::clone(server.peer()), Arc::clone(client.peer()));
    assert_eq!(
        (seen.organisation(), seen.role()),
        ("clinic", Role::Participant)
    );
    assert_eq!(
        (own.organisation(), own.role()),
        ("operator", Role::Coordinator)
    );
    assert_eq!(
        seen.identity_key().as_bytes(),
        clinic_key().verifying_key().as_bytes()
    );
    assert_eq!(seen.claims().chip_id(), &CLINIC.chip_id);
    assert!(seen.claims().simulated());
    assert_eq!(seen.session_id(), own.session_id());
    client.write_all(b"PRI * HTTP/2.0").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"PRI * HTTP/2.0");
}

#[tokio::test]
async fn every_connection_is_a_session_of_its_own() {
    let (server, client) = (
        ServerChannel::new(coordinator()).unwrap(),
        ClientChannel::new(clinic()).unwrap(),
    );
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (near, far) = duplex(256 * 1024);
        let (accepted, opened) = tokio::join!(accept_on(near, &server), connect_on(far, &client));
        ids.push(accepted.unwrap().peer().session_id());
        opened.unwrap();
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn an_organisation_that_is_not_enrolled_is_refused() {
    let stranger = settings("stranger", clinic_key(), CLINIC);
    let cause = RefusalCause::Directory(Refused::UnknownOrganisation);
    assert_server_refused(
        meet(coordinator(), stranger).await,
        cause,
        CoarseReason::NotEnrolled,
    );
}

#[tokio::test]
async fn an_organisation_with_another_identity_key_is_refused() {
    let impostor = settings("clinic", SigningKey::from_bytes(&[9; 32]), CLINIC);
    let cause = RefusalCause::Directory(Refused::IdentityKey);
    assert_server_refused(
        meet(coordinator(), impostor).await,
        cause,
        CoarseReason::NotEnrolled,
    );
}

#[tokio::test]
async fn the_coordinators_organisation_cannot_come_as_a_participant() {
    let reversed = settings("operator", coordinator_key(), COORDINATOR);
    let cause = RefusalCause::Directory(Refused::Role);
    assert_server_refused(
        meet(coordinator(), reversed).await,
        cause,
        CoarseReason::NotEnrolled,
    );
}

#[tokio::test]
async fn an_organisation_on_another_chip_is_refused() {
    let elsewhere = settings("clinic", clinic_key(), COORDINATOR);
    let cause = RefusalCause::Evidence(Reason::ChipId);
    assert_server_refused(
        meet(coordinator(), elsewhere).await,
        cause,
        CoarseReason::Evidence,
    );
}

#[tokio::test]
async fn a_coordinator_on_another_chip_is_refused_by_the_participant() {
    let (server, client) = meet(settings("operator", coordinator_key(), CLINIC), clinic()).await;
    let cause = RefusalCause::Evidence(Reason::ChipId);
    assert_refused(
        client.unwrap_err(),
        server.unwrap_err(),
        cause,
        CoarseReason::Evidence,
    );
}

#[tokio::test]
async fn a_session_about_something_else_is_refused() {
    let other_job = Rules {
        context: SessionContext::new(1, &[7; 32], &[1; 32], b"job"),
        ..rules(1, "")
    };
    let other_job = ChannelSettings {
        in_force: Arc::new(InForce::new(other_job)),
        ..clinic()
    };
    assert_server_refused(
        meet(coordinator(), other_job).await,
        RefusalCause::IdentitySignature,
        CoarseReason::Identity,
    );
}

/// Evidence for the certificate, and then another's: whoever holds an identity key and a certificate, but not the machine, can only replay what
/// the machine once signed.
struct Replay {
    machine: Arc<dyn Attester>,
    old: Evidence,
    certified: AtomicBool,
}

impl Attester for Replay {
    fn attest(&self, report_data: ReportData) -> Result<Evidence, AttesterFault> {
        if self.certified.swap(true, Ordering::Relaxed) {
            return Ok(self.old.clone());
        }
        self.machine.attest(report_data)
    }
}

#[tokio::test]
async fn evidence_of_another_session_is_refused_though_the_identity_key_signs() {
    let old = clinic().attester.attest(ReportData::new([3; 64])).unwrap();
    let thief = ChannelSettings {
        attester: Arc::new(Replay {
            machine: clinic().attester,
            old,
            certified: AtomicBool::new(false),
        }),
        ..clinic()
    };
    let cause = RefusalCause::Evidence(Reason::ReportData);
    assert_server_refused(
        meet(coordinator(), thief).await,
        cause,
        CoarseReason::Evidence,
    );
}

/// The certificate of a side that speaks TLS properly, and nothing else.
fn certificate_of(role: Role, settings: &ChannelSettings) -> OwnCertificate {
    OwnCertificate::new(role, Arc::clone(&settings.attester)).unwrap()
}

/// What a handshake of this side's begins with.
async fn end(own: &OwnCertificate, peer: Role) -> (Arc<Issued>, Arc<FirstFilter>) {
    let rules = Arc::new(rules(1, ""));
    let issued = own.newest(world::now(), rules.manifest).await.unwrap();
    let filter = FirstFilter::new(&tls::provider(), rules, peer, world::now());
    (issued, filter)
}

/// A client that speaks TLS with this certificate, and what binds its session.
async fn tls_to(
    stream: DuplexStream,
    own: &OwnCertificate,
) -> (tokio_rustls::client::TlsStream<DuplexStream>, Binding) {
    let (own, filter) = end(own, Role::Coordinator).await;
    let config = client_config(&own, &filter).unwrap();
    let name = ServerName::try_from("consort.invalid").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.unwrap();
    let binding = Binding::of(stream.get_ref().1, &own, filter.passed()).unwrap();
    (stream, binding)
}

/// A server that speaks TLS with this certificate.
async fn tls_from(
    stream: DuplexStream,
    own: &OwnCertificate,
) -> tokio_rustls::server::TlsStream<DuplexStream> {
    let (own, filter) = end(own, Role::Participant).await;
    let config = server_config(&own, &filter).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    acceptor.accept(stream).await.unwrap()
}

/// A relay that even stole both TLS keys: each side sees the right SPKI, but the two sessions' exporters differ.
/// `resign` is what a relay does that stole the participant's identity key too.
async fn relay(resign: bool) -> ChannelError {
    let (server, client) = (
        ServerChannel::new(coordinator()).unwrap(),
        ClientChannel::new(clinic()).unwrap(),
    );
    let ((server_end, relay_out), (relay_in, client_end)) =
        (duplex(256 * 1024), duplex(256 * 1024));
    let relay = async {
        let mut inward = tls_from(relay_in, &server.certificate).await;
        let (mut outward, binding) = tls_to(relay_out, &client.certificate).await;
        let hello = frame::read(&mut outward, MAX_FRAME_BYTES).await.unwrap();
        frame::write(&mut inward, &hello).await.unwrap();
        let mut opening =
            Opening::from_bytes(&frame::read(&mut inward, MAX_FRAME_BYTES).await.unwrap()).unwrap();
        if resign {
            let statement = session(&Session {
                role: Role::Participant,
                own_spki: &binding.own_spki,
                peer_spki: &binding.peer_spki,
                exporter: &binding.exporter,
                server_nonce: &Hello::from_bytes(&hello).unwrap().nonce,
                client_nonce: &opening.nonce,
                context: rules(1, "").context,
            });
            opening.proof.signature = clinic_key().sign(statement.bytes()).to_bytes();
        }
        frame::write(&mut outward, &opening.to_bytes())
            .await
            .unwrap();
        let verdict = frame::read(&mut outward, MAX_FRAME_BYTES).await.unwrap();
        frame::write(&mut inward, &verdict).await.unwrap();
    };
    let (accepted, opened, ()) = tokio::join!(
        accept_on(server_end, &server),
        connect_on(client_end, &client),
        relay
    );
    assert!(matches!(
        opened.unwrap_err(),
        ChannelError::RefusedByPeer { .. }
    ));
    accepted.unwrap_err()
}

#[tokio::test]
async fn a_relay_with_stolen_tls_keys_is_refused() {
    let ChannelError::PeerRefused(refused) = relay(false).await else {
        panic!("not refused")
    };
    assert_eq!(refused.cause, RefusalCause::IdentitySignature);
}

#[tokio::test]
async fn a_relay_that_stole_the_identity_key_too_is_refused_for_its_evidence() {
    let ChannelError::PeerRefused(refused) = relay(true).await else {
        panic!("not refused")
    };
    assert_eq!(refused.cause, RefusalCause::Evidence(Reason::ReportData));
}

/// A directory that lets everyone be everything, so that the statement alone can refuse.
struct Anyone;

impl PeerDirectory for Anyone {
    fn expected(&self, _: Role, _: &str, _: &IdentityKey) -> Result<MachineBinding, Refused> {
        Ok(CLINIC.binding())
    }

    fn owner(&self, _: Role, _: &MachineBinding) -> Option<String> {
        None
    }
}

#[tokio::test]
async fn a_proof_that_is_reflected_is_refused() {
    let (near, far) = duplex(256 * 1024);
    let anyone = Rules {
        directory: Arc::new(Anyone),
        ..rules(1, "")
    };
    let manifest = anyone.manifest;
    let client = ClientChannel::new(ChannelSettings {
        in_force: Arc::new(InForce::new(anyone)),
        ..clinic()
    })
    .unwrap();
    let mirror = async {
        let own = certificate_of(Role::Coordinator, &coordinator());
        let mut stream = tls_from(near, &own).await;
        let hello = Hello {
            nonce: [0; 32],
            manifest,
        };
        frame::write(&mut stream, &hello.to_bytes()).await.unwrap();
        let opening =
            Opening::from_bytes(&frame::read(&mut stream, MAX_FRAME_BYTES).await.unwrap()).unwrap();
        frame::write(&mut stream, &opening.proof.to_bytes())
            .await
            .unwrap();
        Verdict::from_bytes(&frame::read(&mut stream, MAX_FRAME_BYTES).await.unwrap()).unwrap()
    };
    let (opened, verdict) = tokio::join!(connect_on(far, &client), mirror);
    let ChannelError::PeerRefused(refused) = opened.unwrap_err() else {
        panic!("not refused")
    };
    assert_eq!(refused.cause, RefusalCause::IdentitySignature);
    assert!(matches!(
        verdict,
        Verdict::Refused(CoarseReason::Identity, _)
    ));
}

/// What the server makes of a client that speaks TLS properly and then sends these bytes.
async fn server_after(bytes: &[u8], then_close: bool) -> ChannelError {
    let (near, far) = duplex(256 * 1024);
    let server = ServerChannel::new(coordinator()).unwrap();
    let client = async {
        let own = certificate_of(Role::Participant, &clinic());
        let (mut stream, _) = tls_to(far, &own).await;
        frame::read(&mut stream, MAX_FRAME_BYTES).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        if then_close {
            stream.shutdown().await.unwrap();
        }
        stream
    };
    let (accepted, _open) = tokio::join!(accept_on(near, &server), client);
    accepted.unwrap_err()
}

#[tokio::test]
async fn an_oversized_frame_is_refused_before_it_is_read() {
    let length = u32::try_from(MAX_FRAME_BYTES).unwrap() + 1;
    assert!(matches!(
        server_after(&length.to_be_bytes(), false).await,
        ChannelError::FrameTooLarge
    ));
}

#[tokio::test]
async fn a_frame_that_is_no_opening_is_refused() {
    assert!(matches!(
        server_after(&[0, 0, 0, 1, 0], false).await,
        ChannelError::Malformed(_)
    ));
}

#[tokio::test]
async fn application_bytes_before_the_exchange_are_refused() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert!(matches!(
        server_after(preface, false).await,
        ChannelError::FrameTooLarge
    ));
}

#[tokio::test]
async fn a_peer_that_leaves_in_the_middle_of_a_frame_is_an_io_error() {
    assert!(matches!(
        server_after(&[0, 0, 0, 9, 1], true).await,
        ChannelError::Io(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_stops_half_way_times_out() {
    assert!(matches!(
        server_after(&[0, 0, 0, 9, 1], false).await,
        ChannelError::Timeout
    ));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_speaks_times_out() {
    let (near, _far) = duplex(1024);
    let server = ServerChannel::new(coordinator()).unwrap();
    assert!(matches!(
        accept_on(near, &server).await,
        Err(ChannelError::Timeout)
    ));
}

#[test]
fn a_message_with_an_overlong_name_or_an_unknown_verdict_does_not_read() {
    let proof = |length| Proof {
        organisation: "x".repeat(length),
        identity_key: IdentityKey::new([0; 32]),
        signature: [0; 64],
        evidence: Vec::new(),
    };
    assert!(Proof::from_bytes(&proof(MAX_ORGANISATION_BYTES).to_bytes()).is_ok());
    assert!(Proof::from_bytes(&proof(MAX_ORGANISATION_BYTES + 1).to_bytes()).is_err());
    let unknown = consort_aggregation::Canonical::new("consort/attest/verdict/v1")
        .u64(9)
        .bytes(&[0; 16])
        .finish();
    assert!(Verdict::from_bytes(&unknown).is_none());
    let name = "x".repeat(MAX_ORGANISATION_BYTES + 1);
    assert!(matches!(
        ClientChannel::new(settings(&name, clinic_key(), CLINIC)),
        Err(ChannelError::Name)
    ));
}

#[tokio::test]
async fn the_connector_attests_each_connection_and_tells_its_observer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: tonic::transport::Uri = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let server = ServerChannel::new(coordinator()).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let client = Arc::new(ClientChannel::new(clinic()).unwrap());
    let mut connector = AttestedConnector::new(client, move |outcome| {
        sender
            .send(
                outcome
                    .map(|peer| peer.session_id())
                    .map_err(ChannelError::code),
            )
            .unwrap();
    });
    for _ in 0..2 {
        let accepting = async {
            accept(listener.accept().await.unwrap().0, &server)
                .await
                .unwrap()
        };
        let (accepted, opened) = tokio::join!(accepting, connector.call(uri.clone()));
        opened.unwrap();
        assert_eq!(
            receiver.try_recv().unwrap(),
            Ok(accepted.peer().session_id())
        );
    }
    let no_port = connector.call("http://localhost".parse().unwrap()).await;
    assert!(matches!(no_port, Err(ChannelError::Address)));
    assert_eq!(receiver.try_recv().unwrap(), Err("channel.address"));
}
