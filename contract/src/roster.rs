//! The roster: who the consortium is. A genesis document that every founder signs after comparing its fingerprint out of band.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{Canonical, Digest};
use serde::{Deserialize, Serialize};

use crate::identity::{IdentityKey, IdentitySecret, Signature, hex, unhex};
use crate::organisation::{ConsortiumId, OrganisationId};

/// Most organisations of a consortium; a bound on what a roster file may make us read.
pub const MAX_ORGANISATIONS: usize = 1024;

/// The name under which the coordinator proves itself; no member may bear it.
pub const COORDINATOR: &str = "coordinator";

/// One organisation: its key and the machine it runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterEntry {
    /// Ed25519 identity key, hexadecimal.
    pub identity: IdentityKey,
    /// Chip id of the confidential machine, 64 bytes, hexadecimal.
    #[serde(with = "hex_array")]
    pub chip_id: [u8; 64],
    /// Hash of the organisation's launch configuration, 32 bytes, hexadecimal.
    #[serde(with = "hex_array")]
    pub host_data: [u8; 32],
}

/// The document's content, before anyone signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterDocument {
    /// The consortium's name.
    pub consortium: ConsortiumId,
    /// Rises with every change; genesis is 1.
    pub version: u64,
    /// The coordinator's key and machine.
    pub coordinator: RosterEntry,
    /// Members by name.
    pub members: BTreeMap<OrganisationId, RosterEntry>,
}

impl RosterDocument {
    /// The roster root: what the founders sign and every round context contains.
    pub fn root(&self) -> Digest {
        Digest::of(&self.canonical())
    }

    /// Signs the document as one of its members.
    pub fn sign(&self, secret: &IdentitySecret) -> Signature {
        secret.sign(&self.canonical())
    }

    fn canonical(&self) -> Vec<u8> {
        let head = Canonical::new("consort/roster/v1")
            .str(self.consortium.as_str())
            .u64(self.version);
        let mut canonical = entry(head, &self.coordinator).list(self.members.len());
        for (name, member) in &self.members {
            canonical = entry(canonical.str(name.as_str()), member);
        }
        canonical.finish()
    }
}

fn entry(canonical: Canonical, entry: &RosterEntry) -> Canonical {
    canonical
        .bytes(entry.identity.as_bytes())
        .bytes(&entry.chip_id)
        .bytes(&entry.host_data)
}

/// A roster file: the document and the signatures under it. Untrusted until [`SignedRoster::verify`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRoster {
    /// What is signed.
    pub document: RosterDocument,
    /// One signature per member, hexadecimal.
    pub signatures: BTreeMap<OrganisationId, String>,
}

/// Why a roster is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Too many organisations, or none.
    #[error("a roster names 1 to {MAX_ORGANISATIONS} members, not {0}")]
    Size(usize),
    /// Two entries share an identity key or a chip.
    #[error(
        "{0} shares its identity key or its chip with another entry; each organisation has its own"
    )]
    Shared(String),
    /// A member bears the coordinator's name.
    #[error("no member may be called {COORDINATOR}; choose another name")]
    ReservedName,
    /// A member's signature is missing.
    #[error("the roster lacks the signature of {0}; every member signs the genesis document")]
    Unsigned(OrganisationId),
    /// A member's signature does not hold for this content.
    #[error(
        "the signature of {0} does not hold for this roster; it was changed after signing or signed with another key"
    )]
    Signature(OrganisationId),
    /// A signature by somebody the roster does not name.
    #[error("the roster is signed by {0}, whom it does not name")]
    Stranger(OrganisationId),
}

impl RosterError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Size(_) => "roster_size",
            Self::Shared(_) => "roster_shared_key",
            Self::ReservedName => "roster_reserved_name",
            Self::Unsigned(_) => "roster_unsigned",
            Self::Signature(_) => "roster_signature",
            Self::Stranger(_) => "roster_stranger",
        }
    }
}

impl SignedRoster {
    /// Checks every signature; only this makes a [`Roster`].
    ///
    /// # Errors
    /// [`RosterError`] names the first organisation whose entry or signature does not hold.
    pub fn verify(self) -> Result<Roster, RosterError> {
        let document = self.document;
        let count = document.members.len();
        if !(1..=MAX_ORGANISATIONS).contains(&count) {
            return Err(RosterError::Size(count));
        }
        if let Some(name) = self
            .signatures
            .keys()
            .find(|name| !document.members.contains_key(*name))
        {
            return Err(RosterError::Stranger(name.clone()));
        }
        let mut keys = BTreeSet::from([*document.coordinator.identity.as_bytes()]);
        let mut chips = BTreeSet::from([document.coordinator.chip_id]);
        for (name, member) in &document.members {
            if name.as_str() == COORDINATOR {
                return Err(RosterError::ReservedName);
            }
            if !keys.insert(*member.identity.as_bytes()) || !chips.insert(member.chip_id) {
                return Err(RosterError::Shared(name.to_string()));
            }
        }
        let canonical = document.canonical();
        for (name, member) in &document.members {
            let text = self
                .signatures
                .get(name)
                .ok_or_else(|| RosterError::Unsigned(name.clone()))?;
            unhex(text)
                .and_then(|bytes| Signature::from_slice(&bytes))
                .and_then(|signature| member.identity.verify(&canonical, &signature).ok())
                .ok_or_else(|| RosterError::Signature(name.clone()))?;
        }
        let root = Digest::of(&canonical);
        Ok(Roster { document, root })
    }

    /// Puts a document and its signatures together, for the tools that write the file.
    pub fn assemble(
        document: RosterDocument,
        signatures: &BTreeMap<OrganisationId, Signature>,
    ) -> Self {
        let signatures = signatures
            .iter()
            .map(|(name, signature)| (name.clone(), hex(&signature.0)))
            .collect();
        Self {
            document,
            signatures,
        }
    }
}

/// A roster whose every signature was checked.
#[derive(Debug, Clone)]
pub struct Roster {
    document: RosterDocument,
    root: Digest,
}

impl Roster {
    /// The consortium's name.
    pub fn consortium(&self) -> &ConsortiumId {
        &self.document.consortium
    }

    /// The roster root.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The roster's version.
    pub fn version(&self) -> u64 {
        self.document.version
    }

    /// The coordinator's entry.
    pub fn coordinator(&self) -> &RosterEntry {
        &self.document.coordinator
    }

    /// A member's entry.
    pub fn member(&self, name: &OrganisationId) -> Option<&RosterEntry> {
        self.document.members.get(name)
    }

    /// Members in order of their names.
    pub fn members(&self) -> impl Iterator<Item = (&OrganisationId, &RosterEntry)> {
        self.document.members.iter()
    }
}

pub(crate) mod hex_array {
    //! Fixed byte arrays as hexadecimal text.
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::hex(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(from)?;
        super::unhex(&text)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| D::Error::custom(format!("{} hexadecimal characters are needed", 2 * N)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(seed: u8) -> IdentitySecret {
        IdentitySecret::from_seed(&[seed; 32])
    }

    fn entry_of(seed: u8) -> RosterEntry {
        RosterEntry {
            identity: secret(seed).public(),
            chip_id: [seed; 64],
            host_data: [seed; 32],
        }
    }

    fn signed() -> SignedRoster {
        let name = |i: u8| OrganisationId::new(&format!("clinic-{i}")).unwrap();
        let document = RosterDocument {
            consortium: ConsortiumId::new("demo").unwrap(),
            version: 1,
            coordinator: entry_of(9),
            members: (1..=3).map(|i| (name(i), entry_of(i))).collect(),
        };
        let signatures = (1..=3)
            .map(|i| (name(i), document.sign(&secret(i))))
            .collect();
        SignedRoster::assemble(document, &signatures)
    }

    #[test]
    fn a_roster_signed_by_all_is_accepted_also_after_a_trip_through_json() {
        let text = serde_json::to_string(&signed()).unwrap();
        let read: SignedRoster = serde_json::from_str(&text).unwrap();
        assert_eq!(read.verify().unwrap().root(), signed().document.root());
    }

    #[test]
    fn a_roster_changed_after_signing_is_refused_by_name() {
        let mut roster = signed();
        roster.document.version = 2;
        let first = OrganisationId::new("clinic-1").unwrap();
        assert_eq!(roster.verify().unwrap_err(), RosterError::Signature(first));
    }

    #[test]
    fn a_missing_signature_a_stranger_and_a_shared_chip_are_refused() {
        let name = |i: u8| OrganisationId::new(&format!("clinic-{i}")).unwrap();
        let mut roster = signed();
        roster.signatures.remove(&name(2));
        assert_eq!(roster.verify().unwrap_err(), RosterError::Unsigned(name(2)));

        let mut roster = signed();
        roster.signatures.insert(name(4), "00".repeat(64));
        assert_eq!(roster.verify().unwrap_err(), RosterError::Stranger(name(4)));

        let mut roster = signed();
        roster.document.members.get_mut(&name(3)).unwrap().chip_id = [1; 64];
        assert_eq!(
            roster.verify().unwrap_err(),
            RosterError::Shared("clinic-3".into())
        );
    }
}
