//! The attestation manifest: the policy that evidence is judged by, signed by the organisations. Its version only rises, each
//! names the hash of the one before it, and its hash is in everything that a machine states.
//!
//! The policy inside is text that is judged elsewhere: what counts here is that these very bytes were signed.

use std::collections::BTreeMap;

use consort_aggregation::{Canonical, Digest};
use serde::{Deserialize, Serialize};

use crate::identity::{IdentitySecret, Signature, hex, unhex};
use crate::organisation::{ConsortiumId, OrganisationId};
use crate::roster::Roster;

/// Most bytes of a manifest's file. The largest policy, lists and signatures fit, in hexadecimal where they are bytes; a
/// larger file is refused before it is parsed.
pub const MAX_MANIFEST_BYTES: usize = 2 * 1024 * 1024;

/// Most bytes of a policy: some 400 measurements or chips.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;

/// Most revocation lists: one for each root of AMD's three products and of another vendor's, with room.
pub const MAX_REVOCATION_LISTS: usize = 8;

/// Most bytes of one revocation list. AMD's have about one kilobyte.
pub const MAX_REVOCATION_LIST_BYTES: usize = 64 * 1024;

/// The version that a consortium begins with, signed by all of it.
pub const GENESIS_VERSION: u64 = 1;

/// A manifest's content, before anyone signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestDocument {
    /// The consortium's name.
    pub consortium: ConsortiumId,
    /// The root of the roster that the manifest is for, hexadecimal.
    #[serde(with = "digest_text")]
    pub roster: Digest,
    /// Rises with every manifest, by any amount; genesis is 1.
    pub version: u64,
    /// How many organisations must sign the manifest that follows this one: more than half of them, so that no two different
    /// ones are signed without one organisation that signed both.
    pub threshold: u32,
    /// The hash of the manifest before this one, hexadecimal; none for genesis.
    #[serde(default, with = "optional_digest_text")]
    pub previous: Option<Digest>,
    /// The attestation policy (TOML), byte for byte.
    pub policy: String,
    /// Revocation lists of the vendors' roots, each as it is published (DER or PEM), hexadecimal.
    #[serde(default)]
    pub revocation_lists: Vec<RevocationListBytes>,
}

/// A revocation list as its vendor publishes it, not looked into.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RevocationListBytes(pub Vec<u8>);

impl ManifestDocument {
    /// What organisations compare out of band before they sign, and what every statement names as the manifest in force.
    pub fn hash(&self) -> Digest {
        Digest::of(&self.canonical())
    }

    /// Signs the document as one of the roster's members.
    pub fn sign(&self, secret: &IdentitySecret) -> Signature {
        secret.sign(&self.canonical())
    }

    /// Whether it may follow what was seen so far: genesis stands alone, every other manifest names the one before it and has a
    /// higher version.
    ///
    /// # Errors
    /// [`ManifestError`] when it may not.
    pub fn follows(&self, previous: Option<&Manifest>) -> Result<(), ManifestError> {
        let found = self.version;
        if (found == GENESIS_VERSION) != self.previous.is_none() || found < GENESIS_VERSION {
            return Err(ManifestError::Linkage(found));
        }
        let Some(previous) = previous else {
            let gap = ManifestError::Gap { seen: None, found };
            return self.previous.map_or(Ok(()), |_| Err(gap));
        };
        let in_force = previous.version();
        if found < in_force || self.hash() == previous.hash() {
            return Err(ManifestError::Rollback { in_force, found });
        }
        if found == in_force {
            return Err(ManifestError::Fork(found));
        }
        if self.previous != Some(previous.hash()) {
            let seen = Some(in_force);
            return Err(ManifestError::Gap { seen, found });
        }
        Ok(())
    }

    fn canonical(&self) -> Vec<u8> {
        let mut canonical = Canonical::new("consort/manifest/v1")
            .str(self.consortium.as_str())
            .bytes(self.roster.as_bytes())
            .u64(self.version)
            .u64(self.threshold.into())
            .list(usize::from(self.previous.is_some()));
        if let Some(previous) = &self.previous {
            canonical = canonical.bytes(previous.as_bytes());
        }
        canonical = canonical
            .str(&self.policy)
            .list(self.revocation_lists.len());
        for list in &self.revocation_lists {
            canonical = canonical.bytes(&list.0);
        }
        canonical.finish()
    }

    fn check_sizes(&self) -> Result<(), ManifestError> {
        if self.policy.is_empty() || self.policy.len() > MAX_POLICY_BYTES {
            return Err(ManifestError::PolicySize(self.policy.len()));
        }
        let lists = &self.revocation_lists;
        let long = |list: &RevocationListBytes| list.0.len() > MAX_REVOCATION_LIST_BYTES;
        if lists.len() > MAX_REVOCATION_LISTS || lists.iter().any(long) {
            return Err(ManifestError::RevocationLists);
        }
        Ok(())
    }
}

/// A manifest file: the document and the signatures under it. Untrusted until [`SignedManifest::verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedManifest {
    /// What is signed.
    pub document: ManifestDocument,
    /// One signature per organisation, hexadecimal.
    #[serde(default)]
    pub signatures: BTreeMap<OrganisationId, String>,
}

/// Why a manifest is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The file is larger than any manifest.
    #[error("a manifest has at most {MAX_MANIFEST_BYTES} bytes, not {0}")]
    Size(usize),
    /// The file is none.
    #[error("this is no manifest: {0}; `consort manifest new` writes one")]
    Malformed(String),
    /// The policy is empty or too long.
    #[error("a manifest's policy has 1 to {MAX_POLICY_BYTES} bytes, not {0}")]
    PolicySize(usize),
    /// Too many revocation lists, or one that is too long.
    #[error(
        "a manifest has at most {MAX_REVOCATION_LISTS} revocation lists of at most {MAX_REVOCATION_LIST_BYTES} bytes"
    )]
    RevocationLists,
    /// Another consortium's.
    #[error("the manifest is the consortium {found}'s, the roster is {expected}'s")]
    Consortium {
        /// The roster's.
        expected: ConsortiumId,
        /// The manifest's.
        found: ConsortiumId,
    },
    /// Another roster's.
    #[error(
        "the manifest is for the roster {found}, the roster here is {expected}; make a manifest for this roster"
    )]
    Roster {
        /// The root of the roster here.
        expected: Digest,
        /// What the manifest names.
        found: Digest,
    },
    /// The threshold is no majority, or more than there are.
    #[error(
        "the manifest's threshold is {threshold}; of {members} organisations it must be {least} to {members}, so that no two different manifests are signed by disjoint groups",
        least = members / 2 + 1
    )]
    Threshold {
        /// What it says.
        threshold: u32,
        /// How many organisations the roster has.
        members: usize,
    },
    /// Genesis names a predecessor, or is not version 1; or a later version names none.
    #[error(
        "manifest version {0} is linked wrongly: version {GENESIS_VERSION} names no manifest before it, every later one does"
    )]
    Linkage(u64),
    /// There are manifests between this one and what was seen so far.
    #[error(
        "manifest version {found} follows one that was not seen here: the newest is {}; take the manifests between them first, in order (`consort manifest adopt`)",
        seen.map_or("none".to_owned(), |version| format!("version {version}"))
    )]
    Gap {
        /// The newest version that was seen.
        seen: Option<u64>,
        /// This one's.
        found: u64,
    },
    /// An older manifest than the newest that was seen.
    #[error(
        "manifest version {found} is not newer than version {in_force}, which was in force here already; put the newest one in place"
    )]
    Rollback {
        /// The newest version that was seen.
        in_force: u64,
        /// This one's.
        found: u64,
    },
    /// Another manifest of a version that was seen.
    #[error(
        "this manifest of version {0} is another than the one that was in force here; whoever signed both did not keep to one: compare the fingerprints with the other organisations"
    )]
    Fork(u64),
    /// A signature by somebody the roster does not name.
    #[error("the manifest is signed by {0}, whom the roster does not name")]
    Stranger(OrganisationId),
    /// A signature does not hold for this content.
    #[error(
        "the signature of {0} does not hold for this manifest; it was changed after signing or signed with another key: let {0} sign it again"
    )]
    Signature(OrganisationId),
    /// Fewer organisations signed than must.
    #[error(
        "the manifest has {have} of the {need} signatures that it needs; missing are {}: `consort manifest sign`",
        names(missing)
    )]
    TooFewSignatures {
        /// How many signed.
        have: usize,
        /// How many must.
        need: usize,
        /// Who did not.
        missing: Vec<OrganisationId>,
    },
}

impl ManifestError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Size(_) => "manifest_size",
            Self::Malformed(_) => "manifest_malformed",
            Self::PolicySize(_) => "manifest_policy_size",
            Self::RevocationLists => "manifest_revocation_lists",
            Self::Consortium { .. } => "manifest_consortium",
            Self::Roster { .. } => "manifest_roster",
            Self::Threshold { .. } => "manifest_threshold",
            Self::Linkage(_) => "manifest_linkage",
            Self::Gap { .. } => "manifest_gap",
            Self::Rollback { .. } => "manifest_rollback",
            Self::Fork(_) => "manifest_fork",
            Self::Stranger(_) => "manifest_stranger",
            Self::Signature(_) => "manifest_signature",
            Self::TooFewSignatures { .. } => "manifest_too_few_signatures",
        }
    }
}

fn names(organisations: &[OrganisationId]) -> String {
    let names: Vec<&str> = organisations.iter().map(OrganisationId::as_str).collect();
    names.join(", ")
}

impl SignedManifest {
    /// Reads a file. Its length is judged before anything is made of it.
    ///
    /// # Errors
    /// [`ManifestError::Size`] and [`ManifestError::Malformed`].
    pub fn from_json(file: &[u8]) -> Result<Self, ManifestError> {
        if file.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::Size(file.len()));
        }
        serde_json::from_slice(file).map_err(|error| ManifestError::Malformed(error.to_string()))
    }

    /// The file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest is plain text")
    }

    /// Adds an organisation's signature, in place of an earlier one of its own.
    pub fn add(&mut self, organisation: OrganisationId, signature: &Signature) {
        self.signatures.insert(organisation, hex(&signature.0));
    }

    /// Checks everything: size, consortium and roster, that it follows `previous`, and the signatures. Only this makes a
    /// [`Manifest`]. Without a previous one it is genesis, which all organisations of the roster sign; a later one is signed by
    /// as many as the one before it asks for.
    ///
    /// # Errors
    /// [`ManifestError`] says what does not hold and who can mend it.
    ///
    /// # Security
    /// One vote per organisation, whatever machines it has. That the policy inside can be used is for its reader to say.
    pub fn verify(
        self,
        roster: &Roster,
        previous: Option<&Manifest>,
    ) -> Result<Manifest, ManifestError> {
        let document = &self.document;
        document.check_sizes()?;
        if document.consortium != *roster.consortium() {
            return Err(ManifestError::Consortium {
                expected: roster.consortium().clone(),
                found: document.consortium.clone(),
            });
        }
        if document.roster != roster.root() {
            return Err(ManifestError::Roster {
                expected: roster.root(),
                found: document.roster,
            });
        }
        let members = roster.members().count();
        let threshold = usize::try_from(document.threshold).unwrap_or(usize::MAX);
        if !(members / 2 + 1..=members).contains(&threshold) {
            return Err(ManifestError::Threshold {
                threshold: document.threshold,
                members,
            });
        }
        document.follows(previous)?;
        let hash = document.hash();
        let need = previous.map_or(members, Manifest::threshold);
        self.check_signatures(roster, need)?;
        Ok(Manifest { signed: self, hash })
    }

    fn check_signatures(&self, roster: &Roster, need: usize) -> Result<(), ManifestError> {
        let canonical = self.document.canonical();
        for (name, text) in &self.signatures {
            let entry = roster
                .member(name)
                .ok_or_else(|| ManifestError::Stranger(name.clone()))?;
            unhex(text)
                .and_then(|bytes| Signature::from_slice(&bytes))
                .and_then(|signature| entry.identity.verify(&canonical, &signature).ok())
                .ok_or_else(|| ManifestError::Signature(name.clone()))?;
        }
        let have = self.signatures.len();
        if have < need {
            let unsigned = roster.members().map(|(name, _)| name);
            let missing = unsigned.filter(|name| !self.signatures.contains_key(*name));
            return Err(ManifestError::TooFewSignatures {
                have,
                need,
                missing: missing.cloned().collect(),
            });
        }
        Ok(())
    }
}

/// A manifest that was checked against its roster and the manifest before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    signed: SignedManifest,
    hash: Digest,
}

impl Manifest {
    /// Its hash: what statements name as the manifest in force.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.signed.document.version
    }

    /// How many organisations must sign the next one.
    pub fn threshold(&self) -> usize {
        usize::try_from(self.signed.document.threshold).unwrap_or(usize::MAX)
    }

    /// The hash of the one before it; none for genesis.
    pub fn previous(&self) -> Option<Digest> {
        self.signed.document.previous
    }

    /// The attestation policy (TOML).
    pub fn policy(&self) -> &str {
        &self.signed.document.policy
    }

    /// The revocation lists that came with it.
    pub fn revocation_lists(&self) -> impl Iterator<Item = &[u8]> {
        let lists = self.signed.document.revocation_lists.iter();
        lists.map(|list| list.0.as_slice())
    }

    /// Who signed it.
    pub fn signers(&self) -> impl Iterator<Item = &OrganisationId> {
        self.signed.signatures.keys()
    }

    /// The file it came from.
    pub fn signed(&self) -> &SignedManifest {
        &self.signed
    }
}

impl std::fmt::Debug for RevocationListBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RevocationListBytes({} bytes)", self.0.len())
    }
}

impl TryFrom<String> for RevocationListBytes {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        unhex(&text)
            .map(Self)
            .ok_or("a revocation list is written in hexadecimal")
    }
}

impl From<RevocationListBytes> for String {
    fn from(list: RevocationListBytes) -> Self {
        hex(&list.0)
    }
}

mod digest_text {
    //! A hash as hexadecimal text.
    use consort_aggregation::Digest;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

mod optional_digest_text {
    //! A hash as hexadecimal text, or none.
    use consort_aggregation::Digest;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        digest: &Option<Digest>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        digest.map(|digest| digest.to_string()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Digest>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
