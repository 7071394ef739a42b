//! Channels under manifests that differ, and sessions that live while theirs is replaced.

use super::*;

fn under(version: u8, snp_lines: &str) -> Arc<InForce> {
    Arc::new(InForce::new(rules(version, snp_lines)))
}

/// A policy line that denies the clinic's machine.
fn denied() -> String {
    format!("denied_chips = [\"{}\"]", CLINIC.chip_id)
}

async fn meet_under(server: Arc<InForce>, client: Arc<InForce>) -> (Outcome, Outcome) {
    let server = ChannelSettings {
        in_force: server,
        ..coordinator()
    };
    let client = ChannelSettings {
        in_force: client,
        ..clinic()
    };
    meet(server, client).await
}

#[tokio::test]
async fn a_peer_with_another_manifest_is_refused_and_both_sides_say_which_versions_differ() {
    for (server, client, advice_there, advice_here) in [
        (
            2,
            1,
            "let the peer put version 2",
            "put version 2 in place of this side's",
        ),
        (
            1,
            3,
            "put version 3 in place of this side's",
            "let the peer put version 3",
        ),
    ] {
        let (accepted, opened) = meet_under(under(server, ""), under(client, "")).await;
        let ChannelError::PeerRefused(refused) = accepted.unwrap_err() else {
            panic!("not refused")
        };
        assert_eq!(refused.cause.code(), "channel.manifest");
        let said = refused.to_string();
        assert!(said.contains(advice_there), "{said}");
        let opened = opened.unwrap_err();
        assert_eq!(opened.code(), "channel.manifest");
        let said = opened.to_string();
        assert!(said.contains(advice_here), "{said}");
        assert!(said.contains(&refused.correlation.to_string()), "{said}");
    }
}

#[tokio::test]
async fn two_manifests_of_one_version_are_told_apart_by_their_fingerprints() {
    let mut other = rules(1, "");
    other.manifest.hash = [0xEE; 32];
    let other = Arc::new(InForce::new(other));
    let (accepted, opened) = meet_under(under(1, ""), other).await;
    let said = accepted.unwrap_err().to_string();
    assert!(said.contains(&"ee".repeat(32)), "{said}");
    let said = opened.unwrap_err().to_string();
    assert!(said.contains(&"01".repeat(32)), "{said}");
}

#[tokio::test]
async fn a_peer_that_only_says_it_has_this_manifest_fails_at_its_signature() {
    let mut liar = rules(1, "");
    liar.manifest = rules(2, "").manifest;
    let meeting = meet_under(under(2, ""), Arc::new(InForce::new(liar))).await;
    assert_server_refused(
        meeting,
        RefusalCause::IdentitySignature,
        CoarseReason::Identity,
    );
}

#[tokio::test]
async fn a_session_whose_evidence_fails_the_new_rules_is_cut_at_once_and_alone() {
    let in_force = under(1, "");
    let (server, client) = meet_under(Arc::clone(&in_force), under(1, "")).await;
    let (mut cut, mut far) = (server.unwrap(), client.unwrap());
    // The coordinator's own side of another session, whose peer the new rules say nothing against.
    let own = ChannelSettings {
        in_force: Arc::clone(&in_force),
        ..clinic()
    };
    let (other, kept) = meet(coordinator(), own).await;
    let (mut other, mut kept) = (other.unwrap(), kept.unwrap());
    assert_eq!(in_force.live_sessions(), 2);

    // A reader that waits is woken.
    let mut byte = [0];
    let reading = async { cut.read(&mut byte).await };
    let dropping = async {
        tokio::task::yield_now().await;
        in_force.replace(rules(2, &denied()), world::now())
    };
    let (read, dropped) = tokio::join!(reading, dropping);
    assert_eq!(
        read.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionAborted
    );
    let [dropped] = dropped.as_slice() else {
        panic!("{dropped:?}")
    };
    assert_eq!(dropped.peer.organisation(), "clinic");
    assert_eq!(dropped.cause, RefusalCause::Evidence(Reason::ChipDenied));
    assert!(cut.write_all(b"x").await.is_err());
    drop(cut);
    assert_ne!(far.read(&mut byte).await.ok(), Some(1), "nothing arrives");

    other.write_all(b"y").await.unwrap();
    other.flush().await.unwrap();
    kept.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"y");
    assert_eq!(in_force.live_sessions(), 1);
}

#[tokio::test]
async fn a_session_that_still_passes_goes_on_and_the_next_connection_has_the_new_context() {
    let (here, there) = (under(1, ""), under(1, ""));
    let (server, client) = meet_under(Arc::clone(&here), Arc::clone(&there)).await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    assert!(here.replace(rules(2, ""), world::now()).is_empty());
    client.write_all(b"z").await.unwrap();
    client.flush().await.unwrap();
    let mut byte = [0];
    server.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"z");

    let (accepted, _) = meet_under(Arc::clone(&here), Arc::clone(&there)).await;
    assert_eq!(accepted.unwrap_err().code(), "channel.manifest");
    assert!(there.replace(rules(2, ""), world::now()).is_empty());
    let (accepted, opened) = meet_under(here, there).await;
    let (accepted, opened) = (accepted.unwrap(), opened.unwrap());
    assert_eq!(accepted.peer().session_id(), opened.peer().session_id());
}

#[tokio::test]
async fn a_session_that_opens_while_rules_are_replaced_is_judged_by_the_new_ones() {
    struct Replacing(Arc<dyn Attester>, Arc<InForce>, AtomicBool);

    // The server proves itself after it judged the client: the rules change in between. Before that it made its certificate.
    impl Attester for Replacing {
        fn attest(&self, report_data: ReportData) -> Result<Evidence, AttesterFault> {
            if self.2.swap(true, Ordering::Relaxed) {
                self.1.replace(rules(2, &denied()), world::now());
            }
            self.0.attest(report_data)
        }
    }
    let in_force = under(1, "");
    let machine = coordinator().attester;
    let attester = Replacing(machine, Arc::clone(&in_force), AtomicBool::new(false));
    let server = ChannelSettings {
        attester: Arc::new(attester),
        in_force: Arc::clone(&in_force),
        ..coordinator()
    };
    let (accepted, opened) = meet(server, clinic()).await;
    let ChannelError::PeerRefused(refused) = accepted.unwrap_err() else {
        panic!("not refused")
    };
    assert_eq!(refused.cause, RefusalCause::Evidence(Reason::ChipDenied));
    assert_eq!(in_force.live_sessions(), 0);
    drop(opened);
}

#[tokio::test]
async fn a_shorter_age_holds_at_once_for_sessions_that_live() {
    let in_force = under(1, "");
    let (server, client) = meet_under(Arc::clone(&in_force), under(1, "")).await;
    let (server, _client) = (server.unwrap(), client.unwrap());
    let seconds = std::time::Duration::from_secs;
    tokio::time::pause();
    tokio::time::advance(seconds(100)).await;
    assert_eq!(in_force.cut_aged(), 0);
    let shorter = rules(2, "[session]\nmax_age_seconds = 75\n");
    assert!(in_force.replace(shorter, world::now()).is_empty());
    // Its peer has half a minute to leave by itself.
    assert_eq!(in_force.cut_aged(), 0);
    tokio::time::advance(seconds(6)).await;
    assert!(!server.is_cut());
    assert_eq!(in_force.cut_aged(), 1);
    assert!(server.is_cut());
    assert_eq!(in_force.cut_aged(), 0);
}
