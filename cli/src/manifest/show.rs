//! A manifest in plain words.

use std::fmt;

use consort_contract::{OrganisationId, SignedManifest, SignedRoster};

use super::changes::{self, Change};
use crate::failure::Failure;

/// What is shown.
pub(super) struct Shown<'a> {
    manifest: &'a SignedManifest,
    previous: Option<&'a SignedManifest>,
    /// Whose signatures are not there, if the roster was given.
    unsigned: Option<Vec<OrganisationId>>,
    fields: Vec<(String, Vec<String>)>,
    changes: Vec<Change>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(
        manifest: &'a SignedManifest,
        previous: Option<&'a SignedManifest>,
        roster: Option<&SignedRoster>,
    ) -> Result<Self, Failure> {
        let fields = changes::fields(&manifest.document)?;
        let changes = previous.map(|previous| {
            let (old, new) = (&previous.document, &manifest.document);
            changes::between(old, new)
        });
        let unsigned = roster.map(|roster| {
            let members = roster.document.members.keys();
            let without = members.filter(|name| !manifest.signatures.contains_key(*name));
            without.cloned().collect()
        });
        Ok(Self {
            manifest,
            previous,
            unsigned,
            fields: fields
                .into_iter()
                .map(|(name, held)| (name, held.into_iter().collect()))
                .collect(),
            changes: changes.transpose()?.unwrap_or_default(),
        })
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        let document = &self.manifest.document;
        serde_json::json!({
            "consortium": document.consortium.to_string(),
            "version": document.version,
            "fingerprint": document.hash().to_string(),
            "roster": document.roster.to_string(),
            "threshold": document.threshold,
            "previous": document.previous.map(|previous| previous.to_string()),
            "signed_by": names(self.manifest.signatures.keys()),
            "not_signed_by": self.unsigned.as_ref().map(|names_of| names(names_of.iter())),
            "policy": document.policy,
            "fields": self.fields.iter().map(|(name, held)| (name.clone(), serde_json::json!(held))).collect::<serde_json::Map<_, _>>(),
            "changes": self.previous.map(|_| &self.changes),
        })
    }
}

fn names<'n>(list: impl Iterator<Item = &'n OrganisationId>) -> Vec<String> {
    list.map(ToString::to_string).collect()
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let document = &self.manifest.document;
        let (version, consortium) = (document.version, &document.consortium);
        writeln!(
            f,
            "manifest version {version} of the consortium {consortium}"
        )?;
        writeln!(f, "  fingerprint  {}", document.hash())?;
        writeln!(
            f,
            "               compare it with the other organisations by telephone before you sign"
        )?;
        match &document.previous {
            Some(previous) => writeln!(f, "  follows      {previous}")?,
            None => writeln!(
                f,
                "  follows      none: it is the first, and every organisation must sign it"
            )?,
        }
        writeln!(f, "  roster       {}", document.roster)?;
        let signed = names(self.manifest.signatures.keys());
        let signed = if signed.is_empty() {
            "nobody".to_owned()
        } else {
            signed.join(", ")
        };
        writeln!(
            f,
            "  signed by    {signed} (shown, not checked: `consort manifest verify`)"
        )?;
        if let Some(unsigned) = &self.unsigned {
            let unsigned = names(unsigned.iter());
            let unsigned = if unsigned.is_empty() {
                "nobody".to_owned()
            } else {
                unsigned.join(", ")
            };
            writeln!(f, "  not signed by {unsigned}")?;
        }
        writeln!(f, "\nwhat it says")?;
        for (name, held) in &self.fields {
            writeln!(f, "  {name}: {}", changes::about(name))?;
            for value in held {
                writeln!(f, "      {value}")?;
            }
        }
        let Some(previous) = self.previous else {
            return Ok(());
        };
        writeln!(
            f,
            "\nwhat it changes from version {}",
            previous.document.version
        )?;
        if self.changes.is_empty() {
            writeln!(f, "  nothing")?;
        }
        for change in &self.changes {
            writeln!(f, "  {}: {}", change.field, change.about)?;
            for value in &change.removed {
                writeln!(f, "    - {value}")?;
            }
            for value in &change.added {
                writeln!(f, "    + {value}")?;
            }
        }
        if document.previous != Some(previous.document.hash()) {
            writeln!(
                f,
                "\nNOTE: it does not follow the manifest that was given as the previous one"
            )?;
        }
        Ok(())
    }
}
