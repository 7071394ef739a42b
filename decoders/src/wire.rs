//! Messages on the wire: bounds, protocol buffers, and from there into the domain.

use crate::{Decoder, Outcome, code};
use consort_contract::Job;
use consort_proto::wire::{audit, consent, job, keys, round};
use consort_proto::{bounds, convert};
use prost::{Message, Name};
use std::sync::LazyLock;

/// A decoder of one message: protocol buffers, then its conversion.
macro_rules! message {
    ($name:literal, $message:ty, $convert:expr) => {
        Decoder {
            name: $name,
            decode: |bytes| {
                let message = decoded::<$message>(bytes)?;
                let convert = $convert;
                convert(message).map(drop).map_err(code!())
            },
        }
    };
}

pub(crate) const DECODERS: &[Decoder] = &[
    message!(
        "wire-round-open",
        round::v1::RoundOpen,
        convert::round_open_from_wire
    ),
    message!("wire-advert", round::v1::Advert, |advert| {
        convert::advert_from_wire(Some(advert))
    }),
    message!(
        "wire-share-keys",
        round::v1::ShareKeysRequest,
        convert::share_keys_from_wire
    ),
    message!(
        "wire-seal",
        round::v1::UpdateSeal,
        |seal: round::v1::UpdateSeal| { convert::seal_from_wire(&seal) }
    ),
    message!(
        "wire-survivors",
        round::v1::Survivors,
        convert::survivors_from_wire
    ),
    message!(
        "wire-confirmation",
        round::v1::Confirmation,
        |message: round::v1::Confirmation| { convert::confirmation_from_wire(&message) }
    ),
    message!(
        "wire-unmask",
        round::v1::UnmaskRequest,
        convert::unmask_from_wire
    ),
    message!(
        "wire-complaint",
        round::v1::ReportBlameRequest,
        convert::complaint_from_wire
    ),
    message!(
        "wire-result",
        round::v1::RoundResult,
        convert::result_from_wire
    ),
    message!("wire-vote", consent::v1::Vote, |vote| {
        convert::vote_from_wire(Some(vote))
    }),
    message!(
        "wire-approval",
        consent::v1::Approval,
        convert::approval_from_wire
    ),
    message!(
        "wire-key-request",
        keys::v1::ReleaseRequest,
        convert::key_request_from_wire
    ),
    message!(
        "wire-state-key-request",
        keys::v1::StateReleaseRequest,
        convert::state_key_request_from_wire
    ),
    message!(
        "wire-key-challenge",
        keys::v1::ChallengeResponse,
        |challenge: keys::v1::ChallengeResponse| { convert::nonce_from_wire(&challenge) }
    ),
    message!(
        "wire-state-key-challenge",
        keys::v1::StateChallengeResponse,
        |challenge: keys::v1::StateChallengeResponse| {
            convert::state_nonce_from_wire(&challenge)
        }
    ),
    message!(
        "wire-prove-head",
        audit::v1::ProveHeadRequest,
        |request: audit::v1::ProveHeadRequest| { convert::prove_head_from_wire(&request) }
    ),
    message!(
        "wire-shown-head",
        audit::v1::ProveHeadResponse,
        convert::shown_head_from_wire
    ),
    message!(
        "wire-cosign",
        audit::v1::CosignRequest,
        |request: audit::v1::CosignRequest| { convert::cosign_from_wire(&request) }
    ),
    Decoder {
        name: "wire-directive",
        decode: directive,
    },
    Decoder {
        name: "wire-job",
        decode: job,
    },
    Decoder {
        name: "wire-plan",
        decode: plan,
    },
    Decoder {
        name: "wire-chunk",
        decode: |bytes| decoded::<round::v1::SubmitUpdateRequest>(bytes).map(drop),
    },
];

fn decoded<M: Message + Name + Default>(bytes: &[u8]) -> Result<M, String> {
    bounds::decode(bytes).map_err(code!())
}

/// What a participant hears from its coordinator.
fn directive(bytes: &[u8]) -> Outcome {
    let response = decoded::<round::v1::FollowResponse>(bytes)?;
    match response.event {
        Some(event) => convert::directive_from_wire(event)
            .map(drop)
            .map_err(code!()),
        None => Err("wire_field_missing".to_owned()),
    }
}

/// What an operator or the coordinator proposes.
fn job(bytes: &[u8]) -> Outcome {
    let spec = decoded::<job::v1::JobSpec>(bytes)?;
    let document = convert::job_from_wire(Some(spec)).map_err(code!())?;
    Job::new(document).map(drop).map_err(code!())
}

/// The job of the corpus.
static JOB: LazyLock<Job> = LazyLock::new(|| {
    let document = serde_json::from_slice(include_bytes!("../corpus/job-document/valid"))
        .expect("the corpus has a job");
    Job::new(document).expect("the corpus' job is valid")
});

/// What the coordinator says follows from a job, which a participant computes again.
fn plan(bytes: &[u8]) -> Outcome {
    let spec = decoded::<job::v1::PlanSpec>(bytes)?;
    convert::plan_from_wire(&JOB, Some(spec))
        .map(drop)
        .map_err(code!())
}
