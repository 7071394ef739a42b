//! What a verdict of blame is spoken on: the terms of an attempt and the adverts of its members, small enough for a log and
//! bound to what everybody signed, so that an auditor needs no other source.

use std::collections::BTreeMap;

use consort_aggregation::{
    Canonical, CanonicalReader, Digest, MemberIndex, PublicKey, RoundKeyContext,
};
use consort_contract::{IdentityKey, MAX_COMPLETE_COHORT, OrganisationId, Signature};

use crate::blame::{MAX_MEMBERS, Unproven, index};
use crate::messages::{AdvertHead, context_of_heads};
use crate::terms::{CONTEXT, CohortMember, RoundTerms};

const PROCEEDINGS: &str = "consort/round/proceedings/v1";

/// Longest name in the terms (docs/protocol.md, "Roster").
const MAX_NAME_BYTES: usize = 64;

/// Most bytes of the terms: names and keys of [`MAX_MEMBERS`] members, and what else ctx is over.
pub(crate) const MAX_TERMS_BYTES: usize = (12 + 4 + MAX_NAME_BYTES + 36) * MAX_MEMBERS + 4096;

/// The attempt that a record of blame is about: every member has it, and a log can hold it.
///
/// # Security
/// It proves nothing of itself. What it says of the terms is bound by [`Self::context`], which whoever reads it compares with
/// the context that the members signed in or that the log has; what it says of the adverts is bound by ctx2, in which the
/// culprit itself signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proceedings {
    terms: Vec<u8>,
    pub(crate) cohort: BTreeMap<MemberIndex, CohortMember>,
    pub(crate) heads: BTreeMap<MemberIndex, AdvertHead>,
    pub(crate) context: Digest,
    pub(crate) context2: RoundKeyContext,
}

impl Proceedings {
    /// The terms of the attempt and the adverts of U1, which the records' ctx2 commits to: with others nothing verifies.
    pub fn new(terms: &RoundTerms, heads: BTreeMap<MemberIndex, AdvertHead>) -> Self {
        Self::of(terms.canonical().finish(), terms.cohort.clone(), heads)
    }

    fn of(
        terms: Vec<u8>,
        cohort: BTreeMap<MemberIndex, CohortMember>,
        heads: BTreeMap<MemberIndex, AdvertHead>,
    ) -> Self {
        let context = Digest::of(&terms);
        let context2 = context_of_heads(&context, &heads);
        Self {
            terms,
            cohort,
            heads,
            context,
            context2,
        }
    }

    /// ctx: the hash of the terms.
    pub fn context(&self) -> &Digest {
        &self.context
    }

    /// ctx2: the hash of the terms and the adverts.
    pub fn context2(&self) -> &RoundKeyContext {
        &self.context2
    }

    /// A member of the announced cohort.
    pub fn member(&self, member: MemberIndex) -> Option<&CohortMember> {
        self.cohort.get(&member)
    }

    /// The canonical encoding, for a log.
    pub fn encode(&self) -> Vec<u8> {
        let head = Canonical::new(PROCEEDINGS).bytes(&self.terms);
        let mut canonical = head.list(self.heads.len());
        for head in self.heads.values() {
            canonical = canonical
                .u64(head.member.get().into())
                .bytes(&head.mask_key.to_bytes())
                .bytes(&head.share_key.to_bytes())
                .bytes(head.evidence.as_bytes())
                .u64(head.ledger_sequence)
                .bytes(&head.signature.0);
        }
        canonical.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`Unproven::Malformed`] or [`Unproven::Material`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Unproven> {
        let mut reader = CanonicalReader::new(bytes, PROCEEDINGS)?;
        let terms = reader.bytes(MAX_TERMS_BYTES)?;
        let cohort = cohort_of(terms)?;
        let mut heads = BTreeMap::new();
        for _ in 0..reader.list(MAX_MEMBERS)? {
            let member = index(reader.u64()?)?;
            let mut key = || PublicKey::from_bytes(reader.array()?).map_err(|_| Unproven::Material);
            let (mask_key, share_key) = (key()?, key()?);
            let head = AdvertHead {
                member,
                mask_key,
                share_key,
                evidence: Digest::new(reader.array()?),
                ledger_sequence: reader.u64()?,
                signature: Signature(reader.array()?),
            };
            // In the order of the index, once each: one content has one encoding.
            let last = heads.last_key_value().map(|(member, _)| *member);
            if last.is_some_and(|last| last >= member) {
                return Err(Unproven::Material);
            }
            heads.insert(member, head);
        }
        reader.finish()?;
        Ok(Self::of(terms.to_vec(), cohort, heads))
    }
}

/// The cohort out of the bytes that ctx is the hash of (docs/protocol.md, "Context").
fn cohort_of(terms: &[u8]) -> Result<BTreeMap<MemberIndex, CohortMember>, Unproven> {
    let mut reader = CanonicalReader::new(terms, CONTEXT)?;
    reader.str(MAX_NAME_BYTES)?;
    reader.str(MAX_NAME_BYTES)?;
    let (_round, _attempt) = (reader.u64()?, reader.u64()?);
    let _roster_root = reader.array::<32>()?;
    let n = reader.u64()?;
    let (_c, _t, _n_min) = (reader.u64()?, reader.u64()?, reader.u64()?);
    if n > u64::from(MAX_COMPLETE_COHORT) {
        if reader.str(MAX_NAME_BYTES)? != "harary" {
            return Err(Unproven::Material);
        }
        let (_d, _h, _m) = (reader.u64()?, reader.u64()?, reader.u64()?);
    }
    let mut cohort = BTreeMap::new();
    for _ in 0..reader.list(MAX_MEMBERS)? {
        let member = index(reader.u64()?)?;
        let organisation =
            OrganisationId::new(reader.str(MAX_NAME_BYTES)?).map_err(|_| Unproven::Material)?;
        let identity =
            IdentityKey::from_slice(&reader.array::<32>()?).map_err(|_| Unproven::Material)?;
        let entry = CohortMember {
            organisation,
            identity,
        };
        if cohort.insert(member, entry).is_some() {
            return Err(Unproven::Material);
        }
    }
    // Contract, votes, model, schema and the log's head.
    for _ in 0..5 {
        reader.array::<32>()?;
    }
    reader.finish()?;
    Ok(cohort)
}
