//! Tests of the ledger: one that obeys and one that breaks each rule.

use super::*;
use crate::mechanism::{Relation, Unit};
use crate::quantity::{NoiseMultiplier, SamplingRate, Steps};
use proptest::prelude::*;

fn account() -> Account {
    Account::new("heart", "training").unwrap()
}

fn cap(epsilon: f64) -> Cap {
    Cap {
        epsilon: Epsilon::new(epsilon).unwrap(),
        delta: Delta::new(1e-5).unwrap(),
    }
}

fn round_of(sigma: f64, relation: Relation) -> Mechanism {
    let sigma = NoiseMultiplier::new(sigma).unwrap();
    Mechanism::new(
        sigma,
        SamplingRate::FULL_BATCH,
        Steps::ONE,
        relation,
        Unit::Record,
    )
}

fn key(round: u64) -> DebitKey {
    DebitKey::new("job", round, 0).unwrap()
}

fn pay(ledger: &mut Ledger, key: DebitKey, mechanism: &Mechanism) -> Result<Debit, Refused> {
    let authorization = ledger.authorize(key, mechanism)?;
    ledger.apply(authorization)
}

#[test]
fn a_hundred_rounds_at_ten_cost_what_one_at_one_does_and_the_next_is_refused() {
    let mut ledger = Ledger::new(account(), cap(4.38));
    let mechanism = round_of(10.0, Relation::AddRemove);
    for round in 0..100 {
        pay(&mut ledger, key(round), &mechanism).unwrap();
    }
    assert!((ledger.spent().unwrap().enforced().value() - 4.377_178_095_68).abs() < 1e-10);
    assert_eq!(
        pay(&mut ledger, key(100), &mechanism).unwrap_err().code(),
        "privacy_over_cap"
    );
    assert_eq!(ledger.sequence(), 100);
}

#[test]
fn the_same_round_and_attempt_is_debited_once_and_another_attempt_again() {
    let mut ledger = Ledger::new(account(), cap(10.0));
    let mechanism = round_of(10.0, Relation::AddRemove);
    pay(&mut ledger, key(1), &mechanism).unwrap();
    assert_eq!(
        pay(&mut ledger, key(1), &mechanism),
        Err(Refused::AlreadyDebited { key: key(1) })
    );
    let debit = pay(&mut ledger, DebitKey::new("job", 1, 1).unwrap(), &mechanism).unwrap();
    assert_eq!((debit.sequence(), debit.key().attempt()), (1, 1));
}

#[test]
fn an_authorization_is_good_for_one_state_of_one_ledger() {
    let mut ledger = Ledger::new(account(), cap(10.0));
    let mechanism = round_of(10.0, Relation::AddRemove);
    let first = ledger.authorize(key(1), &mechanism).unwrap();
    let second = ledger.authorize(key(2), &mechanism).unwrap();
    let mut other = Ledger::new(Account::new("lung", "training").unwrap(), cap(10.0));
    ledger.apply(first).unwrap();
    assert_eq!(ledger.apply(second), Err(Refused::Stale { sequence: 0 }));
    let foreign = ledger.authorize(key(3), &mechanism).unwrap();
    assert!(other.apply(foreign).is_err());
}

#[test]
fn an_authorization_alone_books_nothing() {
    let ledger = Ledger::new(account(), cap(10.0));
    let _unused = ledger
        .authorize(key(1), &round_of(10.0, Relation::AddRemove))
        .unwrap();
    assert_eq!(ledger.sequence(), 0);
    assert_eq!(ledger.spent().unwrap().enforced(), Epsilon::ZERO);
}

#[test]
fn another_relation_than_the_account_s_is_refused() {
    let mut ledger = Ledger::new(account(), cap(10.0));
    pay(&mut ledger, key(1), &round_of(10.0, Relation::AddRemove)).unwrap();
    let refused = pay(&mut ledger, key(2), &round_of(10.0, Relation::ReplaceOne)).unwrap_err();
    assert_eq!(refused, Refused::Account(AccountError::MixedRelations));
}

#[test]
fn a_job_that_fits_as_a_whole_can_be_foreseen() {
    let ledger = Ledger::new(account(), cap(1.0));
    let job = |steps| {
        let sigma = NoiseMultiplier::new(20.0).unwrap();
        let steps = Steps::new(steps).unwrap();
        Mechanism::new(
            sigma,
            SamplingRate::FULL_BATCH,
            steps,
            Relation::AddRemove,
            Unit::Record,
        )
    };
    assert!(ledger.what_if(&[job(20)]).unwrap().enforced().value() < 1.0);
    assert_eq!(
        ledger.what_if(&[job(60)]).unwrap_err().code(),
        "privacy_over_cap"
    );
}

#[test]
fn entries_missing_repeated_or_of_another_account_are_no_ledger() {
    let mut ledger = Ledger::new(account(), cap(10.0));
    for round in 0..3 {
        pay(
            &mut ledger,
            key(round),
            &round_of(10.0, Relation::AddRemove),
        )
        .unwrap();
    }
    let replay = |account: Account, order: &[usize]| {
        let entries = order.iter().map(|at| ledger.entries()[*at].clone());
        Ledger::replay(account, cap(10.0), entries)
            .map(|ledger| ledger.sequence())
            .map_err(|error| error.code())
    };
    assert_eq!(replay(account(), &[0, 1, 2]), Ok(3));
    assert_eq!(replay(account(), &[0, 2]), Err("privacy_ledger_gap"));
    assert_eq!(replay(account(), &[0, 1, 1]), Err("privacy_ledger_gap"));
    assert_eq!(
        replay(Account::new("heart", "other").unwrap(), &[0]),
        Err("privacy_ledger_other_account")
    );
    let first = &ledger.entries()[0];
    let again = Entry::new(account(), 1, first.key().clone(), *first.mechanism());
    let repeated = Ledger::replay(account(), cap(10.0), [first.clone(), again]);
    assert_eq!(repeated.unwrap_err(), LedgerError::Repeated { sequence: 1 });
}

#[test]
fn a_cap_lowered_below_what_is_spent_refuses_what_comes_next() {
    let mut ledger = Ledger::new(account(), cap(10.0));
    pay(&mut ledger, key(0), &round_of(1.0, Relation::AddRemove)).unwrap();
    let lowered = Ledger::replay(account(), cap(1.0), ledger.entries().to_vec()).unwrap();
    let refused = lowered
        .authorize(key(1), &round_of(1000.0, Relation::AddRemove))
        .unwrap_err();
    assert_eq!(refused.code(), "privacy_over_cap");
}

proptest! {
    #[test]
    fn a_crash_after_storing_never_under_counts(
        sigmas in prop::collection::vec(2.0_f64..50.0, 1..12),
        crash in 0..12_usize,
    ) {
        let mut stored = Vec::new();
        let mut ledger = Ledger::new(account(), cap(5.0));
        for (round, sigma) in sigmas.iter().enumerate() {
            let mechanism = round_of(*sigma, Relation::AddRemove);
            if let Ok(authorization) = ledger.authorize(key(round as u64), &mechanism) {
                stored.push(authorization.entry().to_line());
                if round == crash {
                    let lines = stored.iter().map(|line| Entry::from_line(line).unwrap());
                    ledger = Ledger::replay(account(), cap(5.0), lines).unwrap();
                } else {
                    prop_assert!(ledger.apply(authorization).is_ok());
                }
            }
            prop_assert_eq!(ledger.sequence(), stored.len() as u64);
            prop_assert!(ledger.spent().unwrap().enforced().value() <= 5.0);
        }
    }
}
