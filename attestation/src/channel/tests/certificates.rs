//! Certificates that the first filter refuses, each for the one reason that no other check has, and what is known of who showed them.

mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use rcgen::CustomExtension;
use rustls::pki_types::CertificateDer;
use rustls::sign::SingleCertAndKey;

use super::super::filter;
use super::super::own_certificate::{TlsKey, dates, extension};
use super::*;
use crate::certificate::Dates;
use crate::require::mutants;
use crate::simulated::SimulatedVendor;
use crate::statements::certificate as statement;
use crate::{Policy, Product, TrustStore, Verifier};

const PARTICIPANT: Role = Role::Participant;

/// A certificate, and by what it is judged.
struct Case {
    name: &'static str,
    reason: CertificateReason,
    certificate: CertificateDer<'static>,
    policy: String,
    now: SystemTime,
}

impl Case {
    fn judge(&self) -> Result<filter::Passed, CertificateRefused> {
        let policy = Policy::from_toml(&self.policy).unwrap();
        let store: TrustStore = stores();
        let rules = Rules {
            verifier: Arc::new(Verifier::new(policy, &store).unwrap()),
            ..rules(1, "")
        };
        let filter = FirstFilter::new(&tls::provider(), Arc::new(rules), PARTICIPANT, self.now);
        filter.judge(&self.certificate).map_err(refusal)
    }
}

/// The roots of two vendors, both of software.
fn stores() -> TrustStore {
    let mut store = world::vendor().trust_store().unwrap();
    let other = other_vendor().roots_pem().unwrap();
    store.add_pem_bundle(other.as_bytes()).unwrap();
    store
}

fn other_vendor() -> &'static SimulatedVendor {
    static VENDOR: std::sync::OnceLock<SimulatedVendor> = std::sync::OnceLock::new();
    VENDOR.get_or_init(|| SimulatedVendor::create(Product::Turin, world::start()).unwrap())
}

fn refusal(error: rustls::Error) -> CertificateRefused {
    let correlation = CorrelationId::of_certificate(b"");
    let error = ChannelError::Tls(error).unwrapped(correlation);
    let ChannelError::CertificateRefused(refused) = error else {
        panic!("{error:?}")
    };
    *refused
}

/// What goes into a certificate; by itself it makes a good one.
struct Draft {
    role: Role,
    /// The dates that the machine states.
    stated: Dates,
    /// Those in the certificate.
    written: Dates,
    /// Whether the machine states the certificate's own key.
    own_key: bool,
    edit: fn(&mut [u8; crate::REPORT_BYTES]),
}

impl Draft {
    fn new() -> Self {
        let dates = dates(world::now());
        Self {
            role: PARTICIPANT,
            stated: dates,
            written: dates,
            own_key: true,
            edit: |_| (),
        }
    }

    fn dated(dates: Dates) -> Self {
        Self {
            stated: dates,
            written: dates,
            ..Self::new()
        }
    }

    fn evidence(&self, key: &TlsKey) -> Vec<u8> {
        let spki = if self.own_key {
            key.spki()
        } else {
            TlsKey::generate().unwrap().spki()
        };
        let Dates {
            not_before,
            not_after,
        } = self.stated;
        let data = statement(self.role, &spki, not_before, not_after).report_data();
        let attester = world::vendor().attester(CLINIC, world::start()).unwrap();
        attester.attest_edited(data, self.edit).unwrap().to_bytes()
    }

    fn certificate(self) -> CertificateDer<'static> {
        self.carrying(|evidence| Some(extension(&evidence)))
    }

    /// A certificate whose machine's evidence is put into it so.
    fn carrying(
        self,
        carry: impl FnOnce(Vec<u8>) -> Option<CustomExtension>,
    ) -> CertificateDer<'static> {
        let key = TlsKey::generate().unwrap();
        let evidence = self.evidence(&key);
        key.certificate(self.written, carry(evidence)).unwrap()
    }
}

fn case(
    name: &'static str,
    reason: CertificateReason,
    certificate: CertificateDer<'static>,
) -> Case {
    Case {
        name,
        reason,
        certificate,
        policy: world::policy_text(""),
        now: world::now(),
    }
}

#[test]
fn each_certificate_is_refused_for_its_own_reason_and_every_reason_has_one() {
    let mut counts = BTreeMap::new();
    let mut names = BTreeSet::new();
    for case in cases::all() {
        let refused = case.judge().map(|_| ()).map_err(|refused| refused.reason);
        assert_eq!(refused, Err(case.reason), "{}", case.name);
        assert!(names.insert(case.name), "{} stands twice", case.name);
        *counts.entry(case.reason.code()).or_insert(0) += 1;
    }
    println!("{} bad certificates: {counts:?}", names.len());
    // That there is one certificate alone is looked at before any is read: the handshake's tests have that.
    let missing = |reason: &&CertificateReason| {
        !counts.contains_key(reason.code()) && **reason != CertificateReason::Alone
    };
    let without: Vec<_> = CertificateReason::ALL.iter().filter(missing).collect();
    assert!(without.is_empty(), "{without:?}");
}

/// Within the policy's clock skew, at either end, and for a whole day.
#[test]
fn a_certificate_at_the_edge_of_its_life_passes() {
    let (now, skew) = (world::now(), Duration::from_secs(300));
    let good = dates(now);
    let at_end = Dates {
        not_before: good.not_before,
        not_after: now - skew,
    };
    for dates in [good, cases::later(good, 2 * skew), at_end] {
        let case = case(
            "",
            CertificateReason::Missing,
            Draft::dated(dates).certificate(),
        );
        assert!(case.judge().is_ok());
    }
}

/// Removes each check of the filter's own in turn: a case must then pass, or be refused for something else.
#[test]
fn no_check_of_the_filter_can_be_removed_unnoticed() {
    let cases = cases::all();
    let _nothing = mutants::seen();
    for case in &cases {
        let _refused = case.judge();
    }
    let own: BTreeSet<_> = CertificateReason::ALL.iter().map(|it| it.code()).collect();
    let sites = mutants::seen();
    let sites = sites
        .iter()
        .filter(|(check, ..)| own.contains(check.as_str()));
    let (mut passed, mut later, mut survived) = (0, Vec::new(), Vec::new());
    for site in sites {
        let (check, file, line) = site;
        let outcomes: Vec<_> = cases
            .iter()
            .filter(|case| case.reason.code() == check)
            .map(|case| mutants::without(site.clone(), || case.judge()))
            .collect();
        if outcomes.iter().any(Result::is_ok) {
            passed += 1;
        } else if outcomes.iter().any(|outcome| {
            outcome
                .as_ref()
                .err()
                .is_some_and(|it| it.reason.code() != check)
        }) {
            later.push(format!("{check} at {file}:{line}"));
        } else {
            survived.push(format!("{check} at {file}:{line}"));
        }
    }
    println!("{passed} checks removed let a certificate in; {later:#?} leave it to a later check");
    assert!(passed > 0);
    assert!(survived.is_empty(), "{survived:#?}");
}

/// A client with this certificate and its key knocks; both sides' outcomes.
async fn knock(key: &TlsKey, certificate: CertificateDer<'static>) -> (ChannelError, ChannelError) {
    let (near, far) = duplex(256 * 1024);
    let server = ServerChannel::new(coordinator()).unwrap();
    let client = ClientChannel::new(clinic()).unwrap();
    let certified = key.certified(certificate).unwrap();
    let knocking = async {
        let (own, filter) = prepare(&client.party, &client.certificate).await.unwrap();
        let mut config = client_config(&own, &filter).unwrap();
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        let name = ServerName::try_from("consort.invalid").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, far).await.unwrap();
        let heard = frame::read(&mut stream, MAX_FRAME_BYTES).await;
        heard.unwrap_err().unwrapped(own.correlation)
    };
    let (accepted, heard) = tokio::join!(accept_on(near, &server), knocking);
    (accepted.unwrap_err(), heard)
}

#[tokio::test]
async fn a_machine_that_the_policy_does_not_take_is_named_and_the_peer_hears_no_reason() {
    let key = TlsKey::generate().unwrap();
    let draft = Draft {
        edit: |report| report[0x90] ^= 1,
        ..Draft::new()
    };
    let evidence = draft.evidence(&key);
    let extension = Some(extension(&evidence));
    let certificate = key.certificate(draft.written, extension).unwrap();
    let (refused, heard) = knock(&key, certificate.clone()).await;
    assert_eq!(refused.code(), "attest.measurement");
    let ChannelError::CertificateRefused(refused) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refused.organisation.as_deref(), Some("clinic"));
    assert_eq!((refused.role, refused.evidence), (PARTICIPANT, evidence));
    assert_eq!(
        refused.correlation,
        CorrelationId::of_certificate(&certificate)
    );
    assert_eq!(heard.code(), "channel.certificate-refused-by-peer");
}

/// Whoever shows evidence that is not for his own key is not taken for the machine that it is from.
#[tokio::test]
async fn somebody_with_anothers_evidence_is_a_stranger() {
    let key = TlsKey::generate().unwrap();
    let draft = Draft {
        edit: |report| report[0x90] ^= 1,
        own_key: false,
        ..Draft::new()
    };
    let evidence = draft.evidence(&key);
    let certificate = key.certificate(draft.written, Some(extension(&evidence)));
    let (refused, _) = knock(&key, certificate.unwrap()).await;
    let ChannelError::CertificateRefused(refused) = refused else {
        panic!("{refused:?}")
    };
    let reason = CertificateReason::Evidence(Reason::Measurement);
    assert_eq!((refused.reason, refused.organisation), (reason, None));
}

/// The same certificate, shown without its key: nothing is judged, so nothing is said of the machine.
#[tokio::test]
async fn a_certificate_without_its_key_says_nothing_about_its_machine() {
    let draft = Draft {
        edit: |report| report[0x90] ^= 1,
        ..Draft::new()
    };
    let certificate = draft.certificate();
    let (refused, _) = knock(&TlsKey::generate().unwrap(), certificate).await;
    let bad_signature = rustls::Error::InvalidCertificate(rustls::CertificateError::BadSignature);
    assert!(
        matches!(&refused, ChannelError::Tls(tls) if *tls == bad_signature),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_coordinator_whose_certificate_does_not_hold_is_not_spoken_to() {
    struct OtherSoftware(crate::simulated::SimulatedAttester);

    impl Attester for OtherSoftware {
        fn attest(&self, report_data: ReportData) -> Result<Evidence, AttesterFault> {
            self.0
                .attest_edited(report_data, |report| report[0x90] ^= 1)
        }
    }
    let machine = world::vendor().attester(COORDINATOR, world::start());
    let server = ChannelSettings {
        attester: Arc::new(OtherSoftware(machine.unwrap())),
        ..coordinator()
    };
    let (accepted, opened) = meet(server, clinic()).await;
    let ChannelError::CertificateRefused(refused) = opened.unwrap_err() else {
        panic!("not refused")
    };
    assert_eq!(refused.organisation.as_deref(), Some("operator"));
    assert_eq!(refused.role, Role::Coordinator);
    let ChannelError::CertificateRefusedByPeer(correlation) = accepted.unwrap_err() else {
        panic!("not told")
    };
    assert_eq!(correlation, refused.correlation);
}

#[tokio::test]
async fn a_client_that_sends_another_certificate_behind_its_own_is_refused() {
    let key = TlsKey::generate().unwrap();
    let draft = Draft::new();
    let evidence = draft.evidence(&key);
    let own = key.certificate(draft.written, Some(extension(&evidence)));
    let own = key.certified(own.unwrap()).unwrap();
    let chain = vec![own.cert[0].clone(), Draft::new().certificate()];
    let both = rustls::sign::CertifiedKey::new(chain, Arc::clone(&own.key));
    let (near, far) = duplex(256 * 1024);
    let server = ServerChannel::new(coordinator()).unwrap();
    let own = certificate_of(PARTICIPANT, &clinic());
    let (own, filter) = end(&own, Role::Coordinator).await;
    let mut config = client_config(&own, &filter).unwrap();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(both));
    let name = ServerName::try_from("consort.invalid").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let (accepted, _open) = tokio::join!(accept_on(near, &server), connector.connect(name, far));
    assert_eq!(accepted.unwrap_err().code(), "channel.certificate-alone");
}
