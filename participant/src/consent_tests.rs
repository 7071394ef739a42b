use std::sync::Arc;

use super::*;
use crate::test_world::{consent, job, job_of, label, name};
use consort_privacy::DebitKey;
use consort_storage::MemoryStore;

fn ledger(policy: &ConsentPolicy) -> PrivacyLedger {
    let records = Arc::new(MemoryStore::new());
    PrivacyLedger::open(records, policy.lifetime_cap().unwrap()).unwrap()
}

fn refusal(policy: &ConsentPolicy) -> &'static str {
    let (job, plan) = job();
    let decided = decide(policy, &name(1), &job, &plan, &ledger(policy));
    decided.unwrap_err().code()
}

#[test]
fn a_job_within_the_policy_is_agreed_to() {
    let (job, plan) = job();
    let policy = consent();
    decide(&policy, &name(1), &job, &plan, &ledger(&policy)).unwrap();
}

#[test]
fn each_rule_of_the_policy_refuses_with_its_own_code() {
    let base = consent();
    let purposes = vec![label("advertising")];
    let datasets = vec![label("other")];
    for (policy, code) in [
        (
            ConsentPolicy {
                purposes,
                ..base.clone()
            },
            "consent_purpose",
        ),
        (
            ConsentPolicy {
                datasets,
                ..base.clone()
            },
            "consent_dataset",
        ),
        (
            ConsentPolicy {
                min_cohort: 4,
                ..base.clone()
            },
            "consent_cohort",
        ),
        (
            ConsentPolicy {
                max_parameters: 1,
                ..base.clone()
            },
            "consent_parameters",
        ),
        (
            ConsentPolicy {
                max_epsilon_per_job: 0.9,
                ..base.clone()
            },
            "consent_epsilon_per_job",
        ),
        (
            ConsentPolicy {
                max_epsilon_lifetime: 0.9,
                ..base
            },
            "privacy_over_cap",
        ),
    ] {
        assert_eq!(refusal(&policy), code);
    }
}

#[test]
fn a_job_that_does_not_name_this_organisation_is_refused() {
    let (job, plan) = job_of(|document| {
        document.members.remove(3);
    });
    let policy = consent();
    let refused = decide(&policy, &name(4), &job, &plan, &ledger(&policy)).unwrap_err();
    assert_eq!(refused.code(), "consent_not_a_member");
}

#[test]
fn a_job_is_counted_at_the_delta_of_the_policy_not_at_its_own() {
    // Epsilon 1 at delta 0.01 is much more than 1 at delta 0.00001.
    let (job, plan) = job_of(|document| document.privacy.delta = 0.01);
    let policy = consent();
    let refused = decide(&policy, &name(1), &job, &plan, &ledger(&policy)).unwrap_err();
    assert_eq!(refused.code(), "consent_epsilon_per_job");
}

#[test]
fn what_earlier_jobs_spent_counts_whatever_their_purpose() {
    let (job, plan) = job();
    let policy = ConsentPolicy {
        max_epsilon_lifetime: 1.2,
        ..consent()
    };
    let mut ledger = ledger(&policy);
    decide(&policy, &name(1), &job, &plan, &ledger).unwrap();
    let round = plan.noise().round_mechanism();
    for number in 1..=2 {
        let key = DebitKey::new("earlier", number, 1).unwrap();
        ledger.pay(&label("records"), key, &round).unwrap();
    }
    let refused = decide(&policy, &name(1), &job, &plan, &ledger).unwrap_err();
    assert_eq!(refused.code(), "privacy_over_cap");
}
