//! The statements against the published vectors: bytes and report data.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::machine::IdentityKey;
use crate::statements::{self, Role, RoundKeys, Session, SessionContext, Statement};

fn vectors() -> Value {
    let file = include_str!("../../../vectors/secure-aggregation/statements.json");
    serde_json::from_str(file).unwrap()
}

fn text<'a>(parts: &'a Value, part: &str) -> &'a str {
    parts[part]
        .as_str()
        .unwrap_or_else(|| panic!("the vectors have no {part}"))
}

fn bytes(parts: &Value, part: &str) -> Vec<u8> {
    hex::decode(text(parts, part)).unwrap()
}

fn array<const N: usize>(parts: &Value, part: &str) -> [u8; N] {
    bytes(parts, part).try_into().unwrap()
}

fn number(parts: &Value, part: &str) -> u64 {
    parts[part]
        .as_u64()
        .unwrap_or_else(|| panic!("the vectors have no {part}"))
}

fn time(parts: &Value, part: &str) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(number(parts, part))
}

fn role(parts: &Value) -> Role {
    let named = |role: &Role| role.name() == text(parts, "role");
    [Role::Participant, Role::Coordinator]
        .into_iter()
        .find(named)
        .unwrap()
}

/// Each statement of this kind, made from the parts that the file names, has the file's bytes and report data.
fn holds(kind: &str, made: impl Fn(&Value) -> Statement) {
    let vectors = vectors();
    let said = vectors[kind].as_array().unwrap();
    assert!(!said.is_empty());
    for said in said {
        let statement = made(&said["parts"]);
        assert_eq!(
            hex::encode(statement.bytes()),
            text(said, "bytes"),
            "{kind}"
        );
        let data = statement.report_data();
        assert_eq!(data.as_bytes(), &array(said, "report_data"), "{kind}");
    }
}

#[test]
fn statements_of_round_keys_are_those_of_the_reference() {
    holds("round_keys", |parts| {
        statements::round_keys(&RoundKeys {
            identity_key: &IdentityKey::new(array(parts, "identity_key")),
            job: text(parts, "job").as_bytes(),
            round: number(parts, "round"),
            announcement_hash: &array(parts, "announcement"),
            organisation: text(parts, "organisation"),
            mask_key: &array(parts, "mask_key"),
            share_key: &array(parts, "share_key"),
            manifest_hash: &array(parts, "manifest"),
        })
    });
}

#[test]
fn statements_of_sessions_are_those_of_the_reference() {
    let vectors = vectors();
    let about = &vectors["contexts"][0];
    let context = SessionContext::new(
        number(about, "protocol"),
        &array(about, "consortium"),
        &array(about, "manifest"),
        &bytes(about, "job"),
    );
    assert_eq!(context.as_bytes(), &array(about, "context"));
    holds("sessions", |parts| {
        assert_eq!(context.as_bytes(), &array(parts, "context"));
        statements::session(&Session {
            role: role(parts),
            own_spki: &bytes(parts, "own_spki"),
            peer_spki: &bytes(parts, "peer_spki"),
            exporter: &array(parts, "exporter"),
            server_nonce: &array(parts, "server_nonce"),
            client_nonce: &array(parts, "client_nonce"),
            context,
        })
    });
}

#[test]
fn statements_of_identities_are_those_of_the_reference() {
    holds("identities", |parts| {
        statements::identity(
            text(parts, "organisation"),
            &IdentityKey::new(array(parts, "identity_key")),
            &array(parts, "manifest"),
            &array(parts, "log_head"),
        )
    });
}

#[test]
fn statements_of_certificates_are_those_of_the_reference() {
    holds("certificates", |parts| {
        statements::certificate(
            role(parts),
            &bytes(parts, "own_spki"),
            time(parts, "not_before_unix_s"),
            time(parts, "not_after_unix_s"),
        )
    });
}
