//! The own certificate over its life: made once, made anew in time, and when a peer or a new manifest gives cause.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use super::*;

/// Counts what the machine is asked.
struct Counting(Arc<dyn Attester>, AtomicUsize);

impl Attester for Counting {
    fn attest(&self, report_data: ReportData) -> Result<Evidence, AttesterFault> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.attest(report_data)
    }
}

fn counted() -> (Arc<Counting>, OwnCertificate) {
    let attester = Arc::new(Counting(clinic().attester, AtomicUsize::new(0)));
    let own = OwnCertificate::new(Role::Participant, Arc::clone(&attester) as _).unwrap();
    (attester, own)
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 60 * 60)
}

fn manifest(version: u8) -> ManifestId {
    rules(version, "").manifest
}

async fn at(own: &OwnCertificate, now: SystemTime) -> Arc<Issued> {
    own.newest(now, manifest(1)).await.unwrap()
}

#[tokio::test]
async fn a_certificate_serves_for_half_of_its_life_and_the_next_has_the_same_key() {
    let (attester, own) = counted();
    let now = world::now();
    let first = at(&own, now).await;
    assert!(Arc::ptr_eq(&first, &at(&own, now + hours(11)).await));
    let second = at(&own, now + hours(12)).await;
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(first.spki, second.spki);
    assert!(Arc::ptr_eq(&second, &at(&own, now + hours(13)).await));
    assert_eq!(attester.1.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_clock_that_was_set_back_has_a_certificate_made_that_is_valid_then() {
    let (_, own) = counted();
    let first = at(&own, world::now()).await;
    let second = at(&own, world::now() - hours(1)).await;
    assert!(!Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn a_new_manifest_has_a_new_certificate() {
    let (attester, own) = counted();
    let first = at(&own, world::now()).await;
    let second = own.newest(world::now(), manifest(2)).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(attester.1.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_certificate_that_a_peer_refused_is_made_anew_once_a_minute_at_most() {
    let (attester, own) = counted();
    let (now, second) = (world::now(), Duration::from_secs(1));
    let first = at(&own, now).await;
    own.doubt(&first, now + 59 * second).await;
    assert!(Arc::ptr_eq(&first, &at(&own, now + 59 * second).await));
    own.doubt(&first, now + 60 * second).await;
    let next = at(&own, now + 60 * second).await;
    assert!(!Arc::ptr_eq(&first, &next));
    // A late word about the first says nothing of the second.
    own.doubt(&first, now + hours(2)).await;
    assert!(Arc::ptr_eq(&next, &at(&own, now + hours(2)).await));
    assert_eq!(attester.1.load(Ordering::Relaxed), 2);
}

/// The channel itself, over half a day: the next connection has the newest certificate, and a session that lives is not touched.
#[tokio::test]
async fn a_session_outlives_the_certificate_that_it_was_opened_with() {
    static NOW: std::sync::Mutex<Option<SystemTime>> = std::sync::Mutex::new(None);
    fn clock() -> SystemTime {
        NOW.lock().unwrap().unwrap_or_else(world::now)
    }
    let of = |settings: ChannelSettings| ChannelSettings { clock, ..settings };
    let server = ServerChannel::new(of(coordinator())).unwrap();
    let client = ClientChannel::new(of(clinic())).unwrap();
    let open = async || {
        let (near, far) = duplex(256 * 1024);
        let (accepted, opened) = tokio::join!(accept_on(near, &server), connect_on(far, &client));
        let shown = client
            .certificate
            .newest(clock(), manifest(1))
            .await
            .unwrap();
        (accepted.unwrap(), opened.unwrap(), shown)
    };
    let (mut server_side, mut client_side, first) = open().await;
    *NOW.lock().unwrap() = Some(world::now() + hours(25));
    let (_, _, second) = open().await;
    assert_ne!(first.correlation, second.correlation);
    client_side.write_all(b"z").await.unwrap();
    client_side.flush().await.unwrap();
    let mut byte = [0];
    server_side.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"z");
}

#[tokio::test]
async fn a_machine_that_gives_no_evidence_opens_no_connection() {
    struct Mute;

    impl Attester for Mute {
        fn attest(&self, _: ReportData) -> Result<Evidence, AttesterFault> {
            Err(AttesterFault::new("mute"))
        }
    }
    let mute = ChannelSettings {
        attester: Arc::new(Mute),
        ..clinic()
    };
    let (_, opened) = meet(coordinator(), mute).await;
    assert!(matches!(opened.unwrap_err(), ChannelError::Attester(_)));
}
