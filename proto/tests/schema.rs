//! The schema itself is held to the project's rules: bounds on every field, and one single place for a vector.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

/// Bytes and text of one field that is no vector: evidence is the longest of them.
const LONGEST_PLAIN_FIELD: u32 = 16 * 1024;

/// The only field of a participant's messages that may carry more.
const VECTOR_FIELD: &str = "consort.round.v1.MaskedChunk.data";

fn pool() -> DescriptorPool {
    DescriptorPool::decode(consort_proto::DESCRIPTORS).unwrap()
}

fn option(pool: &DescriptorPool, field: &FieldDescriptor, name: &str) -> Option<u32> {
    let extension = pool
        .get_extension_by_name(&format!("consort.limits.v1.{name}"))
        .unwrap();
    let options = field.options();
    options
        .has_extension(&extension)
        .then(|| options.get_extension(&extension).as_u32().unwrap())
}

/// Every message that can be reached from a message, itself included.
fn reachable(
    root: MessageDescriptor,
    seen: &mut BTreeSet<String>,
    fields: &mut Vec<FieldDescriptor>,
) {
    if !seen.insert(root.full_name().to_owned()) {
        return;
    }
    for field in root.fields() {
        if let Kind::Message(message) = field.kind() {
            reachable(message, seen, fields);
        }
        fields.push(field);
    }
}

/// Fields of everything that a participant sends.
fn participant_fields(pool: &DescriptorPool) -> Vec<FieldDescriptor> {
    let mut fields = Vec::new();
    let mut seen = BTreeSet::new();
    let services: Vec<_> = pool
        .services()
        .filter(|s| {
            [
                "consort.round.v1.RoundService",
                "consort.consent.v1.ConsentService",
                "consort.audit.v1.WitnessService",
                "consort.manifest.v1.ManifestService",
            ]
            .contains(&s.full_name())
        })
        .collect();
    assert_eq!(services.len(), 4);
    for method in services.iter().flat_map(|service| service.methods()) {
        reachable(method.input(), &mut seen, &mut fields);
    }
    fields
}

#[test]
fn only_the_masked_chunk_can_carry_a_vector_from_a_participant() {
    let pool = pool();
    let fields = participant_fields(&pool);
    assert!(fields.iter().any(|field| field.full_name() == VECTOR_FIELD));
    for field in fields {
        let name = field.full_name();
        // A list of numbers or of free bytes would be a vector under another name.
        let plain_list = field.is_list() && !matches!(field.kind(), Kind::Message(_));
        assert!(!plain_list, "{name} is a list of plain values");
        assert!(!field.is_map(), "{name} is a map");
        let unbounded = matches!(field.kind(), Kind::Bytes | Kind::String)
            && option(&pool, &field, "max_bytes").is_none_or(|bound| bound > LONGEST_PLAIN_FIELD);
        assert_eq!(unbounded, name == VECTOR_FIELD, "{name}");
        let number = matches!(field.kind(), Kind::Float | Kind::Double);
        assert!(!number, "{name} is a fractional number in the clear");
    }
}

/// What a participant hands to its own organisation's broker beside the contract, which is the coordinator's and signed by all.
#[test]
fn a_request_for_a_key_has_no_room_for_a_vector_either() {
    let pool = pool();
    let requests = ["ReleaseRequest", "StateReleaseRequest"].map(|name| {
        pool.get_message_by_name(&format!("consort.keys.v1.{name}"))
            .unwrap()
    });
    for field in requests.iter().flat_map(MessageDescriptor::fields) {
        let name = field.full_name();
        let kind = field.kind();
        if let Kind::Message(message) = &kind {
            let contract = ["consort.consent.v1.Proposal", "consort.consent.v1.Approval"];
            assert!(contract.contains(&message.full_name()), "{name}");
        } else if matches!(kind, Kind::Bytes | Kind::String) {
            let most = option(&pool, &field, "max_bytes").unwrap();
            assert!(most <= LONGEST_PLAIN_FIELD, "{name}");
        } else {
            assert_eq!(kind, Kind::Uint32, "{name}");
        }
        assert!(!field.is_list() && !field.is_map(), "{name}");
    }
}

#[test]
fn every_field_of_bytes_text_or_many_elements_has_a_bound() {
    let pool = pool();
    for message in pool
        .all_messages()
        .filter(|m| m.full_name().starts_with("consort."))
    {
        for field in message.fields().filter(|_| !message.is_map_entry()) {
            let name = field.full_name();
            if matches!(field.kind(), Kind::Bytes | Kind::String) {
                assert!(
                    option(&pool, &field, "max_bytes").is_some_and(|bound| bound > 0),
                    "{name} lacks max_bytes"
                );
            }
            if field.is_list() || field.is_map() {
                assert!(
                    option(&pool, &field, "max_items").is_some_and(|bound| bound > 0),
                    "{name} lacks max_items"
                );
            }
        }
    }
}

#[test]
fn each_file_has_at_most_one_service_and_each_call_its_own_messages() {
    let pool = pool();
    let mut used = BTreeSet::new();
    for file in pool
        .files()
        .filter(|file| file.package_name().starts_with("consort."))
    {
        assert!(file.services().len() <= 1, "{}", file.name());
        for method in file
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
        {
            assert_eq!(method.input().name(), format!("{}Request", method.name()));
            assert_eq!(method.output().name(), format!("{}Response", method.name()));
            assert!(
                used.insert(method.input().full_name().to_owned()),
                "{} is used twice",
                method.input().name()
            );
        }
    }
}
