//! The service's endpoint and answers; and, where `scripts/kms.sh` runs one, the service itself (moto, PyPI).

use std::path::PathBuf;

use super::*;
use crate::config::{Config, WrappingConfig};
use crate::release::NotReleased;
use crate::rule::CoarseRefusal;
use crate::test_world::{SESSION, World, label};
use crate::wrapping::OrganisationKeys;
use consort_vault::release::ReleaseKeyPair;

fn config(endpoint: &str) -> AwsKmsConfig {
    AwsKmsConfig {
        key_id: "1234abcd-12ab-34cd-56ef-1234567890ab".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: endpoint.to_owned(),
        ca_file: None,
    }
}

fn refused(config: &AwsKmsConfig) -> &'static str {
    match AwsKms::open(config) {
        Ok(_) => "opened",
        Err(fault) => fault.code(),
    }
}

#[test]
fn plain_text_is_spoken_to_this_machine_alone_and_tls_needs_authorities() {
    for endpoint in [
        "http://kms.eu-central-1.amazonaws.com",
        "http://127.0.0.1.example",
        "http://localhost:4566",
        "ftp://127.0.0.1",
        "kms.example",
        "https://kms.example/path",
        "https://kms.example/?query",
        "",
    ] {
        let mut config = config(endpoint);
        config.ca_file = Some("/etc/ssl/certs/ca-certificates.crt".into());
        let code = refused(&config);
        assert!(
            ["kms_endpoint", "config_unreadable"].contains(&code),
            "{endpoint}: {code}"
        );
    }
    assert_eq!(refused(&config("https://kms.example")), "kms_authorities");
    // Past the endpoint: what is missing is next.
    let code = refused(&config("http://127.0.0.1:4566"));
    assert!(["kms_credentials", "opened"].contains(&code), "{code}");
}

#[test]
fn an_alias_is_no_name_of_a_key_and_an_arn_of_a_key_is() {
    let mut config = config("http://127.0.0.1:4566");
    for alias in [
        "alias/consort",
        "arn:aws:kms:eu-central-1:111122223333:alias/consort",
    ] {
        config.key_id = alias.to_owned();
        assert_eq!(refused(&config), "kms_alias", "{alias}");
    }
    let key = "1234abcd-12ab-34cd-56ef-1234567890ab";
    config.key_id = format!("arn:aws:kms:eu-central-1:111122223333:key/{key}");
    let code = refused(&config);
    assert!(["kms_credentials", "opened"].contains(&code), "{code}");
}

#[test]
fn an_error_is_known_by_its_name_and_its_message_is_not_shown() {
    let answer = br#"{"__type": "com.amazonaws.kms#AccessDeniedException", "message": "secret"}"#;
    assert_eq!(error_kind(answer).as_deref(), Some("AccessDeniedException"));
    for answer in [b"".as_slice(), b"{}", b"[]", br#"{"__type": 1}"#] {
        assert_eq!(error_kind(answer), None);
    }
}

#[test]
fn an_answer_without_a_key_of_the_right_length_is_refused() {
    let answer: Answer = serde_json::from_str(r#"{"Plaintext": "AAAA"}"#).unwrap();
    let refused = plaintext(&answer, "Decrypt").unwrap_err();
    assert_eq!(refused.code(), "wrapping_length");
    for text in ["{}", r#"{"Plaintext": "%"}"#] {
        let answer: Answer = serde_json::from_str(text).unwrap();
        let refused = plaintext(&answer, "Decrypt").unwrap_err();
        assert_eq!(refused.code(), "kms_answer");
        assert_eq!(
            ciphertext(&answer, "Encrypt").unwrap_err().code(),
            "kms_answer"
        );
    }
}

#[test]
fn what_is_asked_is_the_services_json_and_does_not_outgrow_its_memory() {
    let (key_id, secret) = ("\u{1}".repeat(2048), "c2VjcmV0".repeat(8));
    let asked = |plaintext, ciphertext_blob| Asked {
        key_id: &key_id,
        encryption_context: BTreeMap::from([("consort-key-id", "a".to_owned())]),
        number_of_bytes: None,
        plaintext,
        ciphertext_blob,
    };
    let written = body(&asked(Some(&secret), None));
    let read: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(
        read,
        serde_json::json!({
            "KeyId": key_id,
            "Plaintext": secret,
            "EncryptionContext": {"consort-key-id": "a"},
        })
    );
    assert_eq!(written.capacity(), ASKED_BYTES + 6 * key_id.len());
    let longest = "A".repeat(8192);
    let written = body(&asked(None, Some(&longest)));
    assert_eq!(written.capacity(), ASKED_BYTES + 6 * key_id.len());
}

/// The service that `scripts/kms.sh` runs.
fn running(key: &str) -> AwsKmsConfig {
    let variable = |name: &str| std::env::var(name).expect("scripts/kms.sh sets it");
    AwsKmsConfig {
        key_id: variable(key),
        region: "eu-central-1".to_owned(),
        endpoint: variable("CONSORT_KMS_ENDPOINT"),
        ca_file: Some(PathBuf::from(variable("CONSORT_KMS_CA"))),
    }
}

fn under(kms: AwsKmsConfig) -> impl FnOnce(&mut Config) {
    move |config| config.wrapping = WrappingConfig::AwsKms(kms)
}

#[tokio::test]
#[ignore = "needs the service that scripts/kms.sh runs"]
async fn a_key_made_and_wrapped_by_aws_kms_is_released() {
    let world = World::with(under(running("CONSORT_KMS_KEY"))).await;
    let id = label("breast-cancer-key");
    let (_, key) = crate::newest_key(&world.config, &id).await.unwrap();
    let broker = world.broker();
    let (nonce, pair) = (broker.challenge(SESSION), ReleaseKeyPair::generate());
    let request = world.request(nonce, &pair);
    let sealed = broker.release(SESSION, request).await.unwrap();
    let (job, plan) = &world.job;
    let terms = consort_vault::release::ReleaseTerms {
        nonce,
        key: crate::newest_key(&world.config, &id).await.unwrap().0,
        job: crate::test_world::job_id(),
        contract: plan.contract_hash(job),
        manifest: world.manifest,
    };
    assert_eq!(pair.open(&sealed, &terms).unwrap().expose(), key.expose());
    assert_eq!(crate::rotate(&world.config, &id).await.unwrap().version, 2);
}

#[tokio::test]
#[ignore = "needs the service that scripts/kms.sh runs"]
async fn keys_move_from_a_file_to_aws_kms_and_from_one_key_there_to_another() {
    let mut world = World::new().await;
    let id = label("breast-cancer-key");
    let before = crate::newest_key(&world.config, &id).await.unwrap().1;
    for next in ["CONSORT_KMS_KEY", "CONSORT_KMS_OTHER_KEY"] {
        let next = WrappingConfig::AwsKms(running(next));
        let former = std::mem::replace(&mut world.config.wrapping, next);
        world.config.former_wrapping = vec![former];
        // The data set's key and that of the participant's state.
        assert_eq!(crate::rewrap(&world.config).await.unwrap(), 2);
        world.config.former_wrapping.clear();
        let after = crate::newest_key(&world.config, &id).await.unwrap().1;
        assert_eq!(after.expose(), before.expose());
    }
}

#[tokio::test]
#[ignore = "needs the service that scripts/kms.sh runs"]
async fn aws_kms_refuses_another_key_another_context_and_changed_bytes() {
    let world = World::with(under(running("CONSORT_KMS_KEY"))).await;
    let keys = OrganisationKeys::open(&world.config).unwrap();
    let what = Wrapped {
        name: consort_vault::KeyName {
            key_id: label("a"),
            version: 1,
            data_set: label("b"),
        },
        created_unix_ms: 5,
    };
    let (key, wrapped) = keys.generate(&what).await.unwrap();
    let opened = keys.unwrap(&what, &keys.current(), &wrapped).await.unwrap();
    assert_eq!(opened.expose(), key.expose());

    let mut younger = what.clone();
    younger.created_unix_ms += 1;
    let mut changed = wrapped.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (what, wrapped) in [(&younger, &wrapped), (&what, &changed)] {
        let refused = keys
            .unwrap(what, &keys.current(), wrapped)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), "kms_refused", "{refused}");
    }
    let other = AwsKms::open(&running("CONSORT_KMS_OTHER_KEY")).unwrap();
    let refused = other.unwrap(&what, &wrapped).await.unwrap_err();
    assert_eq!(refused.code(), "kms_refused", "{refused}");
    let mut nowhere = running("CONSORT_KMS_KEY");
    nowhere.key_id = "00000000-0000-4000-8000-000000000000".to_owned();
    let refused = AwsKms::open(&nowhere).unwrap().generate(&what).await;
    assert_eq!(refused.unwrap_err().code(), "kms_refused");
}

#[tokio::test]
#[ignore = "needs the service that scripts/kms.sh runs"]
async fn a_service_under_another_authority_or_away_makes_the_key_unavailable_and_nothing_else() {
    let mut world = World::with(under(running("CONSORT_KMS_KEY"))).await;
    let WrappingConfig::AwsKms(kms) = &mut world.config.wrapping else {
        panic!("it was set");
    };
    kms.ca_file = Some("/etc/ssl/certs/ca-certificates.crt".into());
    let broker = world.broker();
    let request = world.request(broker.challenge(SESSION), &ReleaseKeyPair::generate());
    let answer = broker.release(SESSION, request).await;
    let Err(NotReleased::Refused { coarse, .. }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(coarse, CoarseRefusal::Unavailable);
}
