use super::*;
use crate::test_world::{consent, job, job_id, label};
use consort_privacy::Epsilon;
use consort_storage::EmbeddedStore;

fn opened(folder: &tempfile::TempDir, epsilon: f64) -> PrivacyLedger {
    let store = EmbeddedStore::open(folder.path().join("state.redb")).unwrap();
    let cap = Cap {
        epsilon: Epsilon::new(epsilon).unwrap(),
        ..consent().lifetime_cap().unwrap()
    };
    PrivacyLedger::open(Arc::new(store), cap).unwrap()
}

fn key(round: u64, attempt: u64) -> DebitKey {
    DebitKey::new(job_id().as_str(), round, attempt).unwrap()
}

fn round() -> Mechanism {
    job().1.noise().round_mechanism()
}

#[test]
fn what_was_paid_is_still_paid_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = label("records");
    let mut ledger = opened(&folder, 3.0);
    ledger.pay(&data, key(1, 1), &round()).unwrap();
    ledger.pay(&data, key(2, 1), &round()).unwrap();
    let spent = ledger.spent(&data);
    drop(ledger);
    let ledger = opened(&folder, 3.0);
    assert_eq!((ledger.sequence(), ledger.spent(&data)), (2, spent));
    assert!(spent > Epsilon::ZERO);
    assert!(ledger.round_is_spent(&job_id(), 2) && !ledger.round_is_spent(&job_id(), 3));
}

#[test]
fn an_overspend_is_refused_and_books_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = label("records");
    let mut ledger = opened(&folder, 0.8);
    ledger.pay(&data, key(1, 1), &round()).unwrap();
    let spent = ledger.spent(&data);
    let refused = (2..=3).find_map(|number| ledger.pay(&data, key(number, 1), &round()).err());
    assert_eq!(refused.unwrap().code(), "privacy_over_cap");
    let after = ledger.spent(&data);
    assert!(after >= spent && after.value() <= 0.8);
}

#[test]
fn a_cap_that_was_lowered_refuses_what_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let data = label("records");
    opened(&folder, 3.0)
        .pay(&data, key(1, 1), &round())
        .unwrap();
    let mut ledger = opened(&folder, 0.1);
    let refused = ledger.pay(&data, key(2, 1), &round()).unwrap_err();
    assert_eq!(refused.code(), "privacy_over_cap");
    assert_eq!(ledger.sequence(), 1);
}

#[test]
fn the_same_attempt_is_not_paid_twice_not_even_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = label("records");
    let mut ledger = opened(&folder, 3.0);
    ledger.pay(&data, key(1, 1), &round()).unwrap();
    let again = |ledger: &mut PrivacyLedger| {
        let refused = ledger.pay(&data, key(1, 1), &round()).unwrap_err();
        assert_eq!(refused.code(), "privacy_already_debited");
    };
    again(&mut ledger);
    drop(ledger);
    again(&mut opened(&folder, 3.0));
}

#[test]
fn another_attempt_at_a_round_that_was_paid_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = label("records");
    opened(&folder, 3.0)
        .pay(&data, key(1, 1), &round())
        .unwrap();
    let mut ledger = opened(&folder, 3.0);
    let refused = ledger.pay(&data, key(1, 2), &round()).unwrap_err();
    assert_eq!(refused.code(), "ledger_round_spent");
    assert_eq!(ledger.sequence(), 1);
}

#[test]
fn data_sets_have_accounts_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = opened(&folder, 0.8);
    for (number, data) in [(1, "records"), (2, "images")] {
        ledger.pay(&label(data), key(number, 1), &round()).unwrap();
    }
    assert_eq!(
        ledger.spent(&label("records")),
        ledger.spent(&label("images"))
    );
    assert_eq!(ledger.spent(&label("none")), Epsilon::ZERO);
}
