//! Votes: each organisation's yes or no to one contract, signed with its identity key.

use std::collections::BTreeMap;

use consort_aggregation::{Canonical, Digest};

use crate::identity::{IdentityKey, IdentitySecret, Signature};
use crate::organisation::{JobId, OrganisationId};

/// Longest reason of a no, in bytes.
pub const MAX_REASON_BYTES: usize = 1024;

/// One vote. Untrusted until [`Vote::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// Who votes.
    pub organisation: OrganisationId,
    /// Hash of the contract that is voted on.
    pub contract: Digest,
    /// Yes or no.
    pub approve: bool,
    /// Why not, for people.
    pub reason: String,
    /// Over all of it and the job's name.
    pub signature: Signature,
}

/// Why votes do not make a contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoteError {
    /// The signature does not hold.
    #[error("the signature under the vote of {0} does not hold")]
    Signature(OrganisationId),
    /// A yes that says why not.
    #[error("the vote of {0} is a yes with a reason; a reason is given with a no alone")]
    YesWithReason(OrganisationId),
    /// A vote on something else.
    #[error("the vote of {0} is about another contract")]
    OtherContract(OrganisationId),
    /// A member did not vote yes.
    #[error("{0} has not voted yes; every member of a job must")]
    NotApproved(OrganisationId),
    /// A vote by somebody who is no member.
    #[error("{0} voted and is no member of the job")]
    Stranger(OrganisationId),
}

impl VoteError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Signature(_) => "vote_signature",
            Self::YesWithReason(_) => "vote_yes_with_reason",
            Self::OtherContract(_) => "vote_other_contract",
            Self::NotApproved(_) => "vote_not_approved",
            Self::Stranger(_) => "vote_stranger",
        }
    }
}

impl Vote {
    /// Casts a vote.
    pub fn cast(
        job: &JobId,
        organisation: &OrganisationId,
        contract: Digest,
        answer: Result<(), String>,
        identity: &IdentitySecret,
    ) -> Self {
        let approve = answer.is_ok();
        let reason = answer.err().unwrap_or_default();
        let mut vote = Self {
            organisation: organisation.clone(),
            contract,
            approve,
            reason,
            signature: Signature([0; 64]),
        };
        vote.signature = identity.sign(&vote.signed_bytes(job));
        vote
    }

    fn signed_bytes(&self, job: &JobId) -> Vec<u8> {
        Canonical::new("consort/contract/vote/v1")
            .str(job.as_str())
            .str(self.organisation.as_str())
            .bytes(self.contract.as_bytes())
            .u64(self.approve.into())
            .str(&self.reason)
            .finish()
    }

    /// Checks that the vote is about this contract and by the holder of this key.
    ///
    /// # Errors
    /// [`VoteError::OtherContract`], [`VoteError::Signature`] or [`VoteError::YesWithReason`].
    pub fn verify(
        &self,
        job: &JobId,
        contract: &Digest,
        identity: &IdentityKey,
    ) -> Result<(), VoteError> {
        if self.contract != *contract {
            return Err(VoteError::OtherContract(self.organisation.clone()));
        }
        identity
            .verify(&self.signed_bytes(job), &self.signature)
            .map_err(|_| VoteError::Signature(self.organisation.clone()))?;
        if self.approve && !self.reason.is_empty() {
            return Err(VoteError::YesWithReason(self.organisation.clone()));
        }
        Ok(())
    }
}

/// The votes of every member on one contract, all yes, all verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedVotes {
    votes: BTreeMap<OrganisationId, Vote>,
}

impl ApprovedVotes {
    /// Checks that each member said yes to this contract, once, and nobody else spoke.
    ///
    /// # Errors
    /// [`VoteError`] names whose vote is missing, a no, forged or foreign.
    pub fn verify(
        job: &JobId,
        contract: &Digest,
        members: &BTreeMap<OrganisationId, IdentityKey>,
        votes: impl IntoIterator<Item = Vote>,
    ) -> Result<Self, VoteError> {
        let votes: BTreeMap<_, _> = votes
            .into_iter()
            .map(|vote| (vote.organisation.clone(), vote))
            .collect();
        if let Some(stranger) = votes.keys().find(|name| !members.contains_key(*name)) {
            return Err(VoteError::Stranger(stranger.clone()));
        }
        for (name, identity) in members {
            let vote = votes
                .get(name)
                .filter(|vote| vote.approve)
                .ok_or_else(|| VoteError::NotApproved(name.clone()))?;
            vote.verify(job, contract, identity)?;
        }
        Ok(Self { votes })
    }

    /// The votes, in order of the organisations' names.
    pub fn iter(&self) -> impl Iterator<Item = &Vote> {
        self.votes.values()
    }

    /// What every round context contains.
    pub fn hash(&self) -> Digest {
        let mut canonical = Canonical::new("consort/contract/votes/v1").list(self.votes.len());
        for vote in self.votes.values() {
            canonical = canonical
                .str(vote.organisation.as_str())
                .bytes(&vote.signature.0);
        }
        canonical.hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobId {
        JobId::new("job-1").unwrap()
    }

    fn name(i: u8) -> OrganisationId {
        OrganisationId::new(&format!("clinic-{i}")).unwrap()
    }

    fn secret(i: u8) -> IdentitySecret {
        IdentitySecret::from_seed(&[i; 32])
    }

    fn members() -> BTreeMap<OrganisationId, IdentityKey> {
        (1..=3).map(|i| (name(i), secret(i).public())).collect()
    }

    fn contract() -> Digest {
        Digest::of(b"contract")
    }

    fn yes(i: u8) -> Vote {
        Vote::cast(&job(), &name(i), contract(), Ok(()), &secret(i))
    }

    #[test]
    fn three_yes_of_three_members_approve() {
        let approved = ApprovedVotes::verify(&job(), &contract(), &members(), (1..=3).map(yes));
        assert_eq!(approved.unwrap().iter().count(), 3);
    }

    #[test]
    fn a_no_a_missing_a_forged_and_a_foreign_vote_do_not_approve() {
        let check = |votes: Vec<Vote>| {
            ApprovedVotes::verify(&job(), &contract(), &members(), votes).unwrap_err()
        };
        let no = Vote::cast(
            &job(),
            &name(2),
            contract(),
            Err("too much epsilon".into()),
            &secret(2),
        );
        assert_eq!(
            check(vec![yes(1), no, yes(3)]),
            VoteError::NotApproved(name(2))
        );
        assert_eq!(check(vec![yes(1), yes(3)]), VoteError::NotApproved(name(2)));
        let forged = Vote::cast(&job(), &name(2), contract(), Ok(()), &secret(1));
        assert_eq!(
            check(vec![yes(1), forged, yes(3)]),
            VoteError::Signature(name(2))
        );
        let other = Vote::cast(&job(), &name(2), Digest::of(b"other"), Ok(()), &secret(2));
        assert_eq!(
            check(vec![yes(1), other, yes(3)]),
            VoteError::OtherContract(name(2))
        );
        assert_eq!(
            check(vec![yes(1), yes(2), yes(3), yes(4)]),
            VoteError::Stranger(name(4))
        );
    }

    #[test]
    fn a_yes_with_a_reason_is_refused_though_it_is_signed() {
        let mut vote = yes(1);
        vote.reason = "gladly".into();
        vote.signature = secret(1).sign(&vote.signed_bytes(&job()));
        assert_eq!(
            vote.verify(&job(), &contract(), &secret(1).public()),
            Err(VoteError::YesWithReason(name(1)))
        );
    }

    #[test]
    fn a_coordinator_that_turns_a_no_into_a_yes_is_found() {
        let mut no = Vote::cast(&job(), &name(1), contract(), Err("no".into()), &secret(1));
        no.approve = true;
        assert_eq!(
            no.verify(&job(), &contract(), &secret(1).public()),
            Err(VoteError::Signature(name(1)))
        );
    }
}
