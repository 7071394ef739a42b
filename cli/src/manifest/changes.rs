//! What a manifest changes: its policy's fields beside those of the one before it.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::Digest;
use consort_contract::ManifestDocument;
use serde::Serialize;

use crate::failure::Failure;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// The field, as the policy has it.
    pub(super) field: String,
    /// What the field is about.
    pub(super) about: &'static str,
    /// What was there and is not any more.
    pub(super) removed: Vec<String>,
    /// What is there now.
    pub(super) added: Vec<String>,
}

/// A policy's fields: each a list of what it holds, a single value being a list of one.
type Fields = BTreeMap<String, BTreeSet<String>>;

/// What differs between two manifests.
pub(super) fn between(
    old: &ManifestDocument,
    new: &ManifestDocument,
) -> Result<Vec<Change>, Failure> {
    let (old, new) = (fields(old)?, fields(new)?);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let none = BTreeSet::new();
    let of = |fields: &Fields, name| fields.get(name).unwrap_or(&none).clone();
    let changes = names.into_iter().filter_map(|name| {
        let (old, new) = (of(&old, name), of(&new, name));
        (old != new).then(|| Change {
            field: name.clone(),
            about: about(name),
            removed: old.difference(&new).cloned().collect(),
            added: new.difference(&old).cloned().collect(),
        })
    });
    Ok(changes.collect())
}

/// What a manifest holds, field by field.
pub(super) fn fields(document: &ManifestDocument) -> Result<Fields, Failure> {
    let policy: toml::Table = document.policy.parse().map_err(|error: toml::de::Error| {
        Failure::refused("policy.syntax", format!("the manifest's policy: {error}"))
    })?;
    let mut fields = Fields::new();
    flatten(&mut fields, "", &policy);
    let threshold = BTreeSet::from([document.threshold.to_string()]);
    fields.insert("threshold".to_owned(), threshold);
    let lists = document.revocation_lists.iter();
    let lists: BTreeSet<_> = lists.map(|list| Digest::of(&list.0).to_string()).collect();
    if !lists.is_empty() {
        fields.insert("revocation_lists".to_owned(), lists);
    }
    Ok(fields)
}

fn flatten(fields: &mut Fields, prefix: &str, table: &toml::Table) {
    for (key, value) in table {
        let name = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            toml::Value::Table(table) => flatten(fields, &name, table),
            toml::Value::Array(list) => {
                fields.insert(name, list.iter().map(text).collect());
            }
            toml::Value::String(_)
            | toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_) => {
                fields.insert(name, BTreeSet::from([text(value)]));
            }
        }
    }
}

fn text(value: &toml::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// What a field is about, for people; the sample policy says it at length.
pub(super) fn about(field: &str) -> &'static str {
    let starts = |prefix: &str| field.starts_with(prefix);
    match field {
        "threshold" => "signatures that the next manifest needs",
        "revocation_lists" => "revocation lists, by their SHA-256",
        "trust.roots" => "vendors' roots that are believed",
        "trust.dangerous_simulated_roots" => "SIMULATED roots: they prove nothing about hardware",
        "snp.measurements" => "software that may run",
        "snp.denied_chips" => "machines that are shut out",
        "snp.denied_products" => "processor families that are shut out",
        "snp.host_data" => "launch configurations that may run",
        "snp.allow_debug" => "guests that the host may look into",
        _ if starts("snp.min_tcb.") => "least firmware level",
        _ if starts("snp.min_firmware.") => "least firmware version",
        _ if starts("trust.") => "how roots are believed",
        _ if starts("session.") => "how connections are opened and how long they live",
        _ => "what a report must say",
    }
}
