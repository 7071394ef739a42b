//! Keys on disk: rotated, rewrapped, damaged.

use super::*;
use crate::test_world::{label, local_keys};

fn now() -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000)
}

#[tokio::test]
async fn a_rotated_key_has_a_new_version_and_the_old_one_still_unwraps() {
    let folder = tempfile::tempdir().unwrap();
    let keys = local_keys(folder.path(), "organisation.key", &[]);
    let store = KeyStore::new(folder.path().join("keys"));
    let id = label("records-key");
    assert!(store.versions(&id).unwrap().is_empty());
    for version in 1..=3 {
        let made = store
            .lock()
            .unwrap()
            .rotate(&id, &label("records"), &keys, now())
            .await
            .unwrap();
        assert_eq!(made.version, version);
    }
    let mut seen = Vec::new();
    for version in store.versions(&id).unwrap() {
        let key = store.unwrap(&id, &version, &keys).await.unwrap();
        seen.push(*key.expose());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 3, "every version is a key of its own");
}

#[tokio::test]
async fn a_rewrapped_key_opens_under_the_new_key_alone_and_is_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let old = local_keys(folder.path(), "old.key", &[]);
    let store = KeyStore::new(folder.path().join("keys"));
    let id = label("records-key");
    let made = store
        .lock()
        .unwrap()
        .rotate(&id, &label("records"), &old, now())
        .await
        .unwrap();
    let before = *store.unwrap(&id, &made, &old).await.unwrap().expose();

    let without_the_old_one = local_keys(folder.path(), "new.key", &[]);
    let refused = store
        .lock()
        .unwrap()
        .rewrap(&id, &without_the_old_one)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "wrapping_unknown");

    let both = local_keys(folder.path(), "new.key", &["old.key"]);
    assert_eq!(store.lock().unwrap().rewrap(&id, &both).await.unwrap(), 1);
    assert_eq!(store.lock().unwrap().rewrap(&id, &both).await.unwrap(), 0);
    let moved = store.versions(&id).unwrap().remove(0);
    assert_eq!(moved.created_unix_ms, made.created_unix_ms);
    let after = store.unwrap(&id, &moved, &without_the_old_one).await;
    assert_eq!(*after.unwrap().expose(), before);
    assert!(store.unwrap(&id, &moved, &old).await.is_err());
}

#[tokio::test]
async fn a_wrapped_key_under_another_date_data_set_version_or_id_does_not_unwrap() {
    let folder = tempfile::tempdir().unwrap();
    let keys = local_keys(folder.path(), "organisation.key", &[]);
    let store = KeyStore::new(folder.path().join("keys"));
    let id = label("records-key");
    let made = store
        .lock()
        .unwrap()
        .rotate(&id, &label("records"), &keys, now())
        .await
        .unwrap();
    type Change = fn(&mut StoredVersion);
    let changes: [Change; 3] = [
        |version| version.created_unix_ms += 1,
        |version| version.data_set = label("others"),
        |version| version.version += 1,
    ];
    for change in changes {
        let mut changed = made.clone();
        change(&mut changed);
        let refused = store.unwrap(&id, &changed, &keys).await.unwrap_err();
        assert_eq!(refused.code(), "vault_sealed");
    }
    assert!(store.unwrap(&label("other"), &made, &keys).await.is_err());
    assert!(store.unwrap(&id, &made, &keys).await.is_ok());
}

#[tokio::test]
async fn keys_that_a_command_is_changing_are_changed_by_no_other_and_still_read() {
    let world = crate::test_world::World::new().await;
    let (config, id) = (&world.config, label("breast-cancer-key"));
    let store = KeyStore::new(config.keys_dir());
    let held = store.lock().unwrap();
    let refused = [
        crate::init(config).await.map(|_| ()).unwrap_err(),
        crate::rotate(config, &id).await.map(|_| ()).unwrap_err(),
        crate::rewrap(config).await.map(|_| ()).unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(refused.code(), "key_files_locked", "{refused}");
    }
    assert!(crate::newest_key(config, &id).await.is_ok());
    drop(held);
    assert_eq!(crate::rotate(config, &id).await.unwrap().version, 2);
}

#[test]
fn a_file_that_does_not_count_its_versions_or_is_no_key_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::new(folder.path());
    let version = |number: u32| {
        format!(
            r#"{{"version": {number}, "data_set": "d", "created_unix_ms": 1, "wrapped_by": "local/x", "wrapped": "00"}}"#
        )
    };
    for text in [
        String::new(),
        "{}".to_owned(),
        format!(r#"{{"versions": [{}]}}"#, version(2)),
        format!(r#"{{"versions": [{}, {}]}}"#, version(1), version(1)),
    ] {
        std::fs::write(folder.path().join("k.json"), &text).unwrap();
        let refused = store.versions(&label("k")).unwrap_err();
        assert_eq!(refused.code(), "key_file_damaged", "{text}");
    }
}
