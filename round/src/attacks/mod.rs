//! What each rule is for: with the rule switched off an attack succeeds, with it the same attack is refused.
//!
//! The attacker is the coordinator with its key, whoever it corrupted, and every message that it saw. Where an attack gains
//! one member's update, the update is computed from those messages and compared with what the member put in; where a rule
//! guards something else, the test says what, and shows that it is lost.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets anything else fails at once"
)]

mod announcement;
mod blame;
mod circle;
#[path = "../../tests/rules/cluster.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared with tests/rules, which uses all of it"
)]
mod cluster;
mod corrupt;
mod delivery;
mod equivocation;
mod key_list;
mod knowledge;
mod lab;
mod members;
mod opening;
mod random;
mod transcript;

use crate::rejection::Rejection;
use crate::rules::{Rule, off};

/// Asserts that this rule, and no other, stands between the attacker and its gain: the attack is refused with this code while
/// the rule holds, and runs to its end, where it asserts the gain, without it.
fn only(rule: Rule, refused: &str, attack: impl Fn() -> Result<(), Rejection>) {
    let refusal = attack().expect_err("the rule is in the way");
    assert_eq!(refusal.code(), refused, "{}: {refusal}", rule.number());
    let outcome = off::without(&[rule], &attack);
    assert_eq!(outcome, Ok(()), "without {}", rule.number());
}
