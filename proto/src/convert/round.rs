//! Messages of a round.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{
    Commitments, Digest, MemberIndex, PublicKey, Quantisation, RevealedAgreement,
    SEALED_SHARES_BYTES, Share, VectorSchema, Width,
};
use consort_contract::{IdentityKey, JobId, Thresholds};
use consort_round::blame::Complaint;
use consort_round::{
    Advert, AdvertHead, Attempt, CohortMember, Confirmation, Confirmations, ConfirmedSets,
    Directive, KeyList, RoundNumber, RoundOpen, RoundResult, RoundTerms, SecretShares, ShareKeys,
    ShareStatement, SharesDelivery, Survivors, UnmaskShares, UpdateSeal,
};
use prost::bytes::Bytes;
use prost::{Message, Name};

use super::{WireError, circle_of, digest, fixed, member, name, required, signature};
use crate::wire::round::v1 as wire;
use wire::follow_response::Event;

/// Which attempt a message belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptKey {
    /// The job.
    pub job: JobId,
    /// The round.
    pub round: RoundNumber,
    /// The attempt.
    pub attempt: Attempt,
}

impl AttemptKey {
    /// The attempt that terms announce.
    pub fn of(terms: &RoundTerms) -> Self {
        Self {
            job: terms.job.clone(),
            round: terms.round,
            attempt: terms.attempt,
        }
    }
}

/// To the wire.
pub fn attempt_to_wire(key: &AttemptKey) -> wire::AttemptId {
    wire::AttemptId {
        job: key.job.to_string(),
        round: key.round.0,
        attempt: key.attempt.0,
    }
}

/// From the wire.
///
/// # Errors
/// [`WireError`] for a missing or misnamed job.
pub fn attempt_from_wire(id: Option<wire::AttemptId>) -> Result<AttemptKey, WireError> {
    let id = required(id, "id")?;
    Ok(AttemptKey {
        job: name(&id.job, "id.job")?,
        round: RoundNumber(id.round),
        attempt: Attempt(id.attempt),
    })
}

/// To the wire.
pub fn round_open_to_wire(open: &RoundOpen) -> wire::RoundOpen {
    let terms = &open.terms;
    let cohort = terms.cohort.iter().map(|(index, m)| wire::CohortMember {
        index: index.get(),
        organisation: m.organisation.to_string(),
        identity: m.identity.as_bytes().to_vec(),
    });
    wire::RoundOpen {
        id: Some(attempt_to_wire(&AttemptKey::of(terms))),
        consortium: terms.consortium.to_string(),
        cohort: cohort.collect(),
        colluders: terms.thresholds.colluders(),
        minimum: terms.thresholds.minimum(),
        roster_root: terms.roster_root.as_bytes().to_vec(),
        contract: terms.contract.as_bytes().to_vec(),
        votes: terms.votes.as_bytes().to_vec(),
        model: terms.model.as_bytes().to_vec(),
        elements: terms.schema.elements(),
        width_bits: terms.schema.width().bits().into(),
        log_head: terms.log_head.as_bytes().to_vec(),
        signature: open.signature.0.to_vec(),
        dropouts: terms.thresholds.dropouts(),
        reach: circle_of(&terms.thresholds).0,
        witnesses: circle_of(&terms.thresholds).1,
        values: terms.schema.values().map(|values| wire::Quantisation {
            quantised: values.quantised,
            rotated: values.rotated,
        }),
    }
}

/// From the wire. The signature is not checked here but by [`RoundOpen::verify`].
///
/// # Errors
/// [`WireError`] names the field.
pub fn round_open_from_wire(open: wire::RoundOpen) -> Result<RoundOpen, WireError> {
    let key = attempt_from_wire(open.id)?;
    let mut cohort = BTreeMap::new();
    for m in &open.cohort {
        let identity = IdentityKey::from_slice(&m.identity)
            .map_err(|e| WireError::invalid("cohort.identity", e))?;
        let entry = CohortMember {
            organisation: name(&m.organisation, "cohort.organisation")?,
            identity,
        };
        if cohort
            .insert(member(m.index, "cohort.index")?, entry)
            .is_some()
        {
            return Err(WireError::invalid("cohort.index", "an index stands twice"));
        }
    }
    let size = u32::try_from(cohort.len()).unwrap_or(u32::MAX);
    let (colluders, minimum) = (Some(open.colluders), Some(open.minimum));
    let thresholds = Thresholds::with_dropouts(size, colluders, minimum, open.dropouts)
        .map_err(|e| WireError::invalid("colluders, minimum, dropouts", e))?;
    if (open.reach, open.witnesses) != circle_of(&thresholds) {
        return Err(WireError::invalid(
            "reach, witnesses",
            "they do not follow from the cohort, colluders, minimum and dropouts",
        ));
    }
    let bits = u8::try_from(open.width_bits).unwrap_or(u8::MAX);
    let width = Width::new(bits).map_err(|e| WireError::invalid("width_bits", e))?;
    let shape =
        VectorSchema::new(open.elements, width).map_err(|e| WireError::invalid("elements", e))?;
    let schema = match open.values {
        None => shape,
        Some(wire::Quantisation { quantised: 0, .. }) => {
            return Err(WireError::invalid("values.quantised", "it is at least 1"));
        }
        Some(values) => shape.of_values(Quantisation {
            quantised: values.quantised,
            rotated: values.rotated,
        }),
    };
    Ok(RoundOpen {
        terms: RoundTerms {
            consortium: name(&open.consortium, "consortium")?,
            job: key.job,
            round: key.round,
            attempt: key.attempt,
            cohort,
            thresholds,
            roster_root: digest(&open.roster_root, "roster_root")?,
            contract: digest(&open.contract, "contract")?,
            votes: digest(&open.votes, "votes")?,
            model: digest(&open.model, "model")?,
            schema,
            log_head: digest(&open.log_head, "log_head")?,
        },
        signature: signature(&open.signature, "signature")?,
    })
}

/// To the wire.
pub fn advert_to_wire(advert: &Advert) -> wire::Advert {
    wire::Advert {
        member: advert.member.get(),
        mask_key: advert.mask_key.to_bytes().to_vec(),
        share_key: advert.share_key.to_bytes().to_vec(),
        evidence: advert.evidence.clone(),
        ledger_sequence: advert.ledger_sequence,
        signature: advert.signature.0.to_vec(),
    }
}

/// From the wire.
///
/// # Errors
/// [`WireError`] for lengths, the identity point and non-canonical points.
pub fn advert_from_wire(advert: Option<wire::Advert>) -> Result<Advert, WireError> {
    let advert = required(advert, "advert")?;
    Ok(Advert {
        member: member(advert.member, "advert.member")?,
        mask_key: point(&advert.mask_key, "advert.mask_key")?,
        share_key: point(&advert.share_key, "advert.share_key")?,
        evidence: advert.evidence,
        ledger_sequence: advert.ledger_sequence,
        signature: signature(&advert.signature, "advert.signature")?,
    })
}

pub(crate) fn head_to_wire(head: &AdvertHead) -> wire::AdvertHead {
    wire::AdvertHead {
        member: head.member.get(),
        mask_key: head.mask_key.to_bytes().to_vec(),
        share_key: head.share_key.to_bytes().to_vec(),
        evidence: head.evidence.as_bytes().to_vec(),
        ledger_sequence: head.ledger_sequence,
        signature: head.signature.0.to_vec(),
    }
}

fn head_from_wire(head: &wire::AdvertHead) -> Result<AdvertHead, WireError> {
    Ok(AdvertHead {
        member: member(head.member, "heads.member")?,
        mask_key: point(&head.mask_key, "heads.mask_key")?,
        share_key: point(&head.share_key, "heads.share_key")?,
        evidence: digest(&head.evidence, "heads.evidence")?,
        ledger_sequence: head.ledger_sequence,
        signature: signature(&head.signature, "heads.signature")?,
    })
}

fn point(bytes: &[u8], field: &'static str) -> Result<PublicKey, WireError> {
    PublicKey::from_bytes(fixed(bytes, field)?).map_err(|e| WireError::invalid(field, e))
}

pub(crate) fn statement_to_wire(statement: &ShareStatement) -> wire::ShareStatement {
    wire::ShareStatement {
        member: statement.member.get(),
        mask_key_commitments: statement.mask_key.to_bytes(),
        self_mask_commitments: statement.self_mask.to_bytes(),
        sealed: digests_to_wire(&statement.sealed),
        signature: statement.signature.0.to_vec(),
    }
}

fn statement_from_wire(statement: wire::ShareStatement) -> Result<ShareStatement, WireError> {
    let commitments = |bytes: &[u8], field| {
        Commitments::from_bytes(bytes).map_err(|e| WireError::invalid(field, e))
    };
    let sealed = digests_from_wire(&statement.sealed, "statement.sealed")?;
    Ok(ShareStatement {
        member: member(statement.member, "statement.member")?,
        mask_key: commitments(
            &statement.mask_key_commitments,
            "statement.mask_key_commitments",
        )?,
        self_mask: commitments(
            &statement.self_mask_commitments,
            "statement.self_mask_commitments",
        )?,
        sealed,
        signature: signature(&statement.signature, "statement.signature")?,
    })
}

pub(crate) fn member_digest_to_wire(of: MemberIndex, digest: &Digest) -> wire::MemberDigest {
    wire::MemberDigest {
        member: of.get(),
        digest: digest.as_bytes().to_vec(),
    }
}

fn digests_to_wire(digests: &BTreeMap<MemberIndex, Digest>) -> Vec<wire::MemberDigest> {
    (digests.iter())
        .map(|(of, digest)| member_digest_to_wire(*of, digest))
        .collect()
}

/// An item of a list that the generated code keeps in its encoding.
pub(crate) fn encoded(item: &impl Message) -> Bytes {
    item.encode_to_vec().into()
}

/// The items of a list that the generated code keeps in their encoding.
fn decoded<M: Message + Name + Default>(
    items: Vec<Bytes>,
    field: &'static str,
) -> impl Iterator<Item = Result<M, WireError>> {
    items.into_iter().map(move |item| {
        crate::bounds::decode(&item).map_err(|error| WireError::invalid(field, error))
    })
}

fn digests_from_wire(
    entries: &[wire::MemberDigest],
    field: &'static str,
) -> Result<BTreeMap<MemberIndex, Digest>, WireError> {
    let mut digests = BTreeMap::new();
    for entry in entries {
        let of = member(entry.member, field)?;
        if digests.insert(of, digest(&entry.digest, field)?).is_some() {
            return Err(WireError::invalid(field, "a member stands twice"));
        }
    }
    Ok(digests)
}

pub(crate) fn box_to_wire(member: MemberIndex, sealed: &[u8]) -> wire::SealedShare {
    wire::SealedShare {
        member: member.get(),
        sealed: sealed.to_vec(),
    }
}

fn sealed_to_wire(sealed: &BTreeMap<MemberIndex, Vec<u8>>) -> Vec<wire::SealedShare> {
    (sealed.iter())
        .map(|(member, bytes)| box_to_wire(*member, bytes))
        .collect()
}

fn sealed_from_wire(
    sealed: Vec<wire::SealedShare>,
) -> Result<BTreeMap<MemberIndex, Vec<u8>>, WireError> {
    let mut shares = BTreeMap::new();
    for entry in sealed {
        if entry.sealed.len() != SEALED_SHARES_BYTES {
            return Err(WireError::invalid("sealed.sealed", "a box has 80 bytes"));
        }
        if shares
            .insert(member(entry.member, "sealed.member")?, entry.sealed)
            .is_some()
        {
            return Err(WireError::invalid("sealed.member", "a member stands twice"));
        }
    }
    Ok(shares)
}

/// To the wire.
pub fn share_keys_to_wire(key: &AttemptKey, message: &ShareKeys) -> wire::ShareKeysRequest {
    wire::ShareKeysRequest {
        id: Some(attempt_to_wire(key)),
        statement: Some(statement_to_wire(&message.statement)),
        sealed: sealed_to_wire(&message.sealed),
    }
}

/// From the wire.
///
/// # Errors
/// [`WireError`] names the field.
pub fn share_keys_from_wire(
    request: wire::ShareKeysRequest,
) -> Result<(AttemptKey, ShareKeys), WireError> {
    let key = attempt_from_wire(request.id)?;
    let statement = statement_from_wire(required(request.statement, "statement")?)?;
    Ok((
        key,
        ShareKeys {
            statement,
            sealed: sealed_from_wire(request.sealed)?,
        },
    ))
}

/// To the wire.
pub fn seal_to_wire(seal: &UpdateSeal) -> wire::UpdateSeal {
    wire::UpdateSeal {
        member: seal.member.get(),
        tree_hash: seal.tree_hash.as_bytes().to_vec(),
        signature: seal.signature.0.to_vec(),
    }
}

/// From the wire.
///
/// # Errors
/// [`WireError`] names the field.
pub fn seal_from_wire(seal: &wire::UpdateSeal) -> Result<UpdateSeal, WireError> {
    Ok(UpdateSeal {
        member: member(seal.member, "seal.member")?,
        tree_hash: digest(&seal.tree_hash, "seal.tree_hash")?,
        signature: signature(&seal.signature, "seal.signature")?,
    })
}

/// To the wire.
pub fn survivors_to_wire(key: &AttemptKey, survivors: &Survivors) -> wire::Survivors {
    wire::Survivors {
        id: Some(attempt_to_wire(key)),
        members: survivors.members.iter().map(|m| m.get()).collect(),
        inputs_root: survivors.inputs_root.as_bytes().to_vec(),
        signature: survivors.signature.0.to_vec(),
    }
}

/// From the wire.
///
/// # Errors
/// [`WireError`] names the field.
pub fn survivors_from_wire(
    survivors: wire::Survivors,
) -> Result<(AttemptKey, Survivors), WireError> {
    let key = attempt_from_wire(survivors.id)?;
    let parsed = Survivors {
        members: member_set(&survivors.members, "survivors.members")?,
        inputs_root: digest(&survivors.inputs_root, "survivors.inputs_root")?,
        signature: signature(&survivors.signature, "survivors.signature")?,
    };
    Ok((key, parsed))
}

fn member_set(indices: &[u32], field: &'static str) -> Result<BTreeSet<MemberIndex>, WireError> {
    let members: BTreeSet<_> = indices
        .iter()
        .map(|i| member(*i, field))
        .collect::<Result<_, _>>()?;
    if members.len() != indices.len() {
        return Err(WireError::invalid(field, "a member stands twice"));
    }
    Ok(members)
}

/// To the wire.
pub fn confirmation_to_wire(confirmation: &Confirmation) -> wire::Confirmation {
    wire::Confirmation {
        member: confirmation.member.get(),
        signature: confirmation.signature.0.to_vec(),
        u2: confirmation.sets.u2.as_bytes().to_vec(),
        u3: confirmation.sets.u3.as_bytes().to_vec(),
        inputs_root: confirmation.sets.inputs_root.as_bytes().to_vec(),
        log_head: confirmation.sets.log_head.as_bytes().to_vec(),
    }
}

/// From the wire.
///
/// # Errors
/// [`WireError`] names the field.
pub fn confirmation_from_wire(
    confirmation: &wire::Confirmation,
) -> Result<Confirmation, WireError> {
    Ok(Confirmation {
        member: member(confirmation.member, "confirmation.member")?,
        sets: ConfirmedSets {
            u2: digest(&confirmation.u2, "confirmation.u2")?,
            u3: digest(&confirmation.u3, "confirmation.u3")?,
            inputs_root: digest(&confirmation.inputs_root, "confirmation.inputs_root")?,
            log_head: digest(&confirmation.log_head, "confirmation.log_head")?,
        },
        signature: signature(&confirmation.signature, "confirmation.signature")?,
    })
}

/// To the wire.
pub fn unmask_to_wire(key: &AttemptKey, message: &UnmaskShares) -> wire::UnmaskRequest {
    let shares = |map: &BTreeMap<MemberIndex, Share>| {
        map.iter()
            .map(|(m, s)| wire::SecretShare {
                owner: m.get(),
                share: s.to_bytes().to_vec(),
            })
            .collect()
    };
    wire::UnmaskRequest {
        id: Some(attempt_to_wire(key)),
        member: message.member.get(),
        self_mask: shares(&message.shares.self_mask),
        mask_key: shares(&message.shares.mask_key),
        signature: message.signature.0.to_vec(),
    }
}

/// To the wire.
pub fn complaint_to_wire(key: &AttemptKey, complaint: &Complaint) -> wire::ReportBlameRequest {
    wire::ReportBlameRequest {
        id: Some(attempt_to_wire(key)),
        dealer: complaint.dealer.get(),
        agreement: complaint.agreement.to_bytes().to_vec(),
    }
}

/// From the wire.
///
/// # Errors
/// [`WireError`] names the field.
pub fn complaint_from_wire(
    request: wire::ReportBlameRequest,
) -> Result<(AttemptKey, Complaint), WireError> {
    let agreement = RevealedAgreement::from_bytes(&fixed(&request.agreement, "agreement")?);
    let complaint = Complaint {
        dealer: member(request.dealer, "dealer")?,
        agreement: agreement.map_err(|error| WireError::invalid("agreement", error))?,
    };
    Ok((attempt_from_wire(request.id)?, complaint))
}

/// From the wire.
///
/// # Errors
/// [`WireError`] names the field.
pub fn unmask_from_wire(
    request: wire::UnmaskRequest,
) -> Result<(AttemptKey, UnmaskShares), WireError> {
    let shares = |list: &[wire::SecretShare], field: &'static str| {
        let mut map = BTreeMap::new();
        for entry in list {
            let share = Share::from_bytes(fixed(&entry.share, field)?)
                .map_err(|e| WireError::invalid(field, e))?;
            if map.insert(member(entry.owner, field)?, share).is_some() {
                return Err(WireError::invalid(field, "an owner stands twice"));
            }
        }
        Ok(map)
    };
    let message = UnmaskShares {
        member: member(request.member, "member")?,
        shares: SecretShares {
            self_mask: shares(&request.self_mask, "self_mask")?,
            mask_key: shares(&request.mask_key, "mask_key")?,
        },
        signature: signature(&request.signature, "signature")?,
    };
    Ok((attempt_from_wire(request.id)?, message))
}

/// To the wire.
pub fn result_to_wire(key: &AttemptKey, result: &RoundResult) -> wire::RoundResult {
    wire::RoundResult {
        id: Some(attempt_to_wire(key)),
        context: result.context.as_bytes().to_vec(),
        survivors: result.survivors.iter().map(|m| m.get()).collect(),
        aggregate: result.aggregate.as_bytes().to_vec(),
        signature: result.signature.0.to_vec(),
    }
}

/// From the wire.
///
/// # Errors
/// [`WireError`] names the field.
pub fn result_from_wire(result: wire::RoundResult) -> Result<(AttemptKey, RoundResult), WireError> {
    let parsed = RoundResult {
        context: digest(&result.context, "result.context")?,
        survivors: member_set(&result.survivors, "result.survivors")?,
        aggregate: digest(&result.aggregate, "result.aggregate")?,
        signature: signature(&result.signature, "result.signature")?,
    };
    Ok((attempt_from_wire(result.id)?, parsed))
}

/// To the wire.
pub fn directive_to_wire(key: &AttemptKey, directive: &Directive) -> Event {
    let id = Some(attempt_to_wire(key));
    match directive {
        Directive::Advertise(open) => Event::RoundOpen(round_open_to_wire(open)),
        Directive::ShareKeys(list) => Event::KeyList(wire::KeyList {
            id,
            adverts: (list.adverts.iter())
                .map(|advert| encoded(&advert_to_wire(advert)))
                .collect(),
            heads: (list.heads.iter())
                .map(|head| encoded(&head_to_wire(head)))
                .collect(),
            ..wire::KeyList::default()
        }),
        Directive::Submit(delivery) => Event::SharesDelivery(wire::SharesDelivery {
            id,
            statements: (delivery.statements.iter())
                .map(|statement| encoded(&statement_to_wire(statement)))
                .collect(),
            sealed: sealed_to_wire(&delivery.sealed),
            others: digests_to_wire(&delivery.others)
                .iter()
                .map(encoded)
                .collect(),
            ..wire::SharesDelivery::default()
        }),
        Directive::Confirm(survivors) => Event::Survivors(survivors_to_wire(key, survivors)),
        Directive::Unmask(list) => Event::Confirmations(wire::Confirmations {
            id,
            confirmations: list
                .confirmations
                .iter()
                .map(|confirmation| encoded(&confirmation_to_wire(confirmation)))
                .collect(),
            seals: list.seals.iter().map(seal_to_wire).collect(),
        }),
    }
}

/// From the wire, parts put together (`parts::Assembly`); `None` for the events that are no directive of a round.
///
/// # Errors
/// [`WireError`] names the field.
pub fn directive_from_wire(event: Event) -> Result<Option<(AttemptKey, Directive)>, WireError> {
    let parsed = match event {
        Event::RoundOpen(open) => {
            let open = round_open_from_wire(open)?;
            (AttemptKey::of(&open.terms), Directive::Advertise(open))
        }
        Event::KeyList(list) => {
            let adverts = decoded(list.adverts, "adverts")
                .map(|advert| advert_from_wire(Some(advert?)))
                .collect::<Result<_, _>>()?;
            let heads = decoded(list.heads, "heads").map(|head| head_from_wire(&head?));
            let heads = heads.collect::<Result<_, _>>()?;
            (
                attempt_from_wire(list.id)?,
                Directive::ShareKeys(KeyList { adverts, heads }),
            )
        }
        Event::SharesDelivery(delivery) => {
            let statements = decoded(delivery.statements, "statements")
                .map(|statement| statement_from_wire(statement?))
                .collect::<Result<_, _>>()?;
            let sealed = sealed_from_wire(delivery.sealed)?;
            let others = decoded(delivery.others, "others").collect::<Result<Vec<_>, _>>()?;
            (
                attempt_from_wire(delivery.id)?,
                Directive::Submit(SharesDelivery {
                    statements,
                    others: digests_from_wire(&others, "others")?,
                    sealed,
                }),
            )
        }
        Event::Survivors(survivors) => {
            let (key, survivors) = survivors_from_wire(survivors)?;
            (key, Directive::Confirm(survivors))
        }
        Event::Confirmations(list) => {
            let confirmations = decoded(list.confirmations, "confirmations")
                .map(|confirmation| confirmation_from_wire(&confirmation?))
                .collect::<Result<_, _>>()?;
            let seals = list.seals.iter().map(seal_from_wire);
            let seals = seals.collect::<Result<_, _>>()?;
            (
                attempt_from_wire(list.id)?,
                Directive::Unmask(Confirmations {
                    confirmations,
                    seals,
                }),
            )
        }
        Event::Proposal(_)
        | Event::Approval(_)
        | Event::RoundResult(_)
        | Event::RoundAborted(_)
        | Event::JobClosed(_)
        | Event::Heartbeat(_) => {
            return Ok(None);
        }
    };
    Ok(Some(parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_of_another_length_than_80_bytes_is_no_box() {
        let boxes = |length| {
            let sealed = vec![7; length];
            sealed_from_wire(vec![wire::SealedShare { member: 1, sealed }])
        };
        for length in [0, 79, 81] {
            assert_eq!(boxes(length).unwrap_err().code(), "wire_field_invalid");
        }
        assert_eq!(boxes(80).unwrap().len(), 1);
    }
}
