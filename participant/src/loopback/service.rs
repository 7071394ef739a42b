//! What the uplink answers itself: who this organisation is, and evidence, made here and judged here.

use std::sync::{Arc, Mutex, PoisonError};

use consort_aggregation::PublicKey;
use consort_contract::{COORDINATOR, IdentityKey, OrganisationId, Roster, RosterEntry};
use consort_proto::convert::{WireError, advert_from_wire, round_open_from_wire};
use consort_proto::errors;
use consort_proto::wire::round::v1 as round;
use consort_proto::wire::uplink::v1 as wire;
use consort_proto::wire::uplink::v1::uplink_service_server::UplinkService;
use consort_round::messages::{MAX_EVIDENCE_BYTES, RoundKeyJudge, RoundKeys};
use consort_round::{CohortMember, Rejection, RoundOpen};
use tonic::{Code, Request, Response, Status};

use crate::agent::Attest;
use crate::state::{SiteState, StateFault};

/// This organisation's machine, policy, roster and memory of the attempts that were answered.
pub(super) struct Vouching {
    pub(super) organisation: OrganisationId,
    pub(super) identity: IdentityKey,
    pub(super) simulated: bool,
    pub(super) roster: Arc<Roster>,
    pub(super) judge: Box<dyn RoundKeyJudge + Send + Sync>,
    pub(super) attest: Mutex<Box<Attest>>,
    pub(super) state: Mutex<SiteState>,
}

/// Why there is no evidence, or no verdict.
#[derive(Debug, thiserror::Error)]
enum VouchError {
    /// The request.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The announcement.
    #[error("the announcement is refused: {0}")]
    Announcement(Rejection),
    /// The advert names nobody of the cohort.
    #[error("the advert names no member of the announced cohort")]
    Stranger,
    /// The keys.
    #[error("the mask key and the share key must be two different ristretto255 elements")]
    Keys,
    /// The attempt was answered, or the disk failed.
    #[error(transparent)]
    State(#[from] StateFault),
    /// The machine.
    #[error("this machine gave no evidence: {0}")]
    Attester(String),
}

impl VouchError {
    fn code(&self) -> &str {
        match self {
            Self::Wire(error) => error.code(),
            Self::Announcement(rejection) => rejection.code(),
            Self::Stranger => "uplink_stranger",
            Self::Keys => "uplink_round_keys",
            Self::State(fault) => fault.code(),
            Self::Attester(code) => code,
        }
    }

    fn status(&self) -> Status {
        let grpc = match self {
            Self::Wire(_) | Self::Stranger | Self::Keys => Code::InvalidArgument,
            Self::Announcement(_) => Code::PermissionDenied,
            Self::State(StateFault::NotNewer { .. }) => Code::AlreadyExists,
            Self::State(
                StateFault::Store(_)
                | StateFault::Record(_)
                | StateFault::Name(_)
                | StateFault::Damaged(_)
                | StateFault::LogHead
                | StateFault::Incomplete(_),
            )
            | Self::Attester(_) => Code::Internal,
        };
        errors::status(grpc, self.code(), self)
    }
}

impl Vouching {
    /// An announcement that the roster's coordinator signed for this consortium and for members of this roster (rules R1, R5
    /// and part of R2; the contract is the caller's matter).
    fn announced(&self, open: Option<round::RoundOpen>) -> Result<RoundOpen, VouchError> {
        let open = open.ok_or(WireError::Missing("open"))?;
        let open = round_open_from_wire(open)?;
        open.verify(&self.roster.coordinator().identity)
            .map_err(VouchError::Announcement)?;
        let terms = &open.terms;
        let enrolled = |member: &CohortMember| {
            let entry = self.roster.member(&member.organisation);
            entry.is_some_and(|entry| entry.identity == member.identity)
        };
        let rules = [
            (
                terms.consortium == *self.roster.consortium(),
                "another consortium",
            ),
            (
                terms.roster_root == self.roster.root(),
                "not the roster of this organisation",
            ),
            (
                terms.cohort.values().all(enrolled),
                "a member that the roster has not",
            ),
            (
                terms.index_of(&self.organisation).is_some(),
                "this organisation is not in the cohort",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(VouchError::Announcement(Rejection::Terms(broken))),
            None => Ok(open),
        }
    }

    fn vouch(&self, request: wire::RoundKeyEvidenceRequest) -> Result<Vec<u8>, VouchError> {
        let open = self.announced(request.open)?;
        let key = |bytes: &[u8]| {
            let bytes = bytes.try_into().map_err(|_| VouchError::Keys)?;
            PublicKey::from_bytes(bytes).map_err(|_| VouchError::Keys)
        };
        let (mask_key, share_key) = (key(&request.mask_key)?, key(&request.share_key)?);
        if mask_key == share_key {
            return Err(VouchError::Keys);
        }
        let own = CohortMember {
            organisation: self.organisation.clone(),
            identity: self.identity,
        };
        let keys = statement(&open, &own, &mask_key, &share_key);
        // On disk before anything is said, as R4 has it. Nothing panics while a lock is held.
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answer(&open.terms.job, open.terms.round.0, open.terms.attempt.0)?;
        let mut attest = self.attest.lock().unwrap_or_else(PoisonError::into_inner);
        attest(&keys).map_err(VouchError::Attester)
    }

    fn judged(
        &self,
        request: wire::JudgeEvidenceRequest,
    ) -> Result<Result<(), String>, VouchError> {
        let open = self.announced(request.open)?;
        let advert = advert_from_wire(request.advert)?;
        let member = open.terms.cohort.get(&advert.member);
        let member = member.ok_or(VouchError::Stranger)?;
        if advert.evidence.len() > MAX_EVIDENCE_BYTES {
            return Ok(Err("round_malformed".to_owned()));
        }
        let keys = statement(&open, member, &advert.mask_key, &advert.share_key);
        Ok(self.judge.judge(&keys, &advert.evidence))
    }
}

fn statement(
    open: &RoundOpen,
    member: &CohortMember,
    mask_key: &PublicKey,
    share_key: &PublicKey,
) -> RoundKeys {
    RoundKeys {
        organisation: member.organisation.clone(),
        identity: member.identity,
        job: open.terms.job.clone(),
        round: open.terms.round.0,
        attempt: open.terms.attempt.0,
        announcement: open.announcement(),
        mask_key: mask_key.to_bytes(),
        share_key: share_key.to_bytes(),
    }
}

#[tonic::async_trait]
impl UplinkService for Vouching {
    async fn describe(
        &self,
        _: Request<wire::DescribeRequest>,
    ) -> Result<Response<wire::DescribeResponse>, Status> {
        let roster = &self.roster;
        let entry = |name: &str, entry: &RosterEntry| wire::RosterEntry {
            organisation: name.to_owned(),
            identity: entry.identity.as_bytes().to_vec(),
            chip_id: entry.chip_id.to_vec(),
            host_data: entry.host_data.to_vec(),
        };
        Ok(Response::new(wire::DescribeResponse {
            organisation: self.organisation.to_string(),
            consortium: roster.consortium().to_string(),
            roster_version: roster.version(),
            roster_root: roster.root().as_bytes().to_vec(),
            coordinator: Some(entry(COORDINATOR, roster.coordinator())),
            members: roster
                .members()
                .map(|(name, member)| entry(name.as_str(), member))
                .collect(),
            dangerous_simulated_attestation: self.simulated,
        }))
    }

    async fn round_key_evidence(
        &self,
        request: Request<wire::RoundKeyEvidenceRequest>,
    ) -> Result<Response<wire::RoundKeyEvidenceResponse>, Status> {
        // A write to disk and a hardware report: milliseconds that may block a thread, not the runtime.
        let evidence = tokio::task::block_in_place(|| self.vouch(request.into_inner()));
        match evidence {
            Ok(evidence) => Ok(Response::new(wire::RoundKeyEvidenceResponse { evidence })),
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "no evidence is given");
                Err(error.status())
            }
        }
    }

    async fn judge_evidence(
        &self,
        request: Request<wire::JudgeEvidenceRequest>,
    ) -> Result<Response<wire::JudgeEvidenceResponse>, Status> {
        let verdict = tokio::task::block_in_place(|| self.judged(request.into_inner()));
        let verdict = verdict.map_err(|error| error.status())?;
        Ok(Response::new(wire::JudgeEvidenceResponse {
            accepted: verdict.is_ok(),
            code: verdict.err().unwrap_or_default(),
        }))
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
