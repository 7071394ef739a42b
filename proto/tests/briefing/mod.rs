//! What the coordinator of a cohort on a circle says in P4.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_aggregation::{Circle, Commitments, Digest, Graph, MemberIndex, RoundKeyContext};
use consort_contract::{JobId, Signature};
use consort_proto::convert::AttemptKey;
use consort_round::coordinator::Briefing;
use consort_round::messages::{ShareKeys, ShareStatement, SharedSet};
use consort_round::{Attempt, RoundNumber};

/// The base point (RFC 9496, A.1).
const BASE: &str = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76";

/// A cohort on a circle.
#[derive(Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) members: u32,
    /// Neighbours on either side.
    pub(crate) reach: u32,
    /// Shares that open a secret.
    pub(crate) threshold: usize,
}

pub(crate) fn key() -> AttemptKey {
    AttemptKey {
        job: JobId::new("job-1").unwrap(),
        round: RoundNumber(1),
        attempt: Attempt(1),
    }
}

impl Crowd {
    pub(crate) fn indices(self) -> impl Iterator<Item = MemberIndex> {
        (1..=self.members).map(|index| MemberIndex::new(index).unwrap())
    }

    pub(crate) fn briefing(self) -> Briefing {
        let context2 = RoundKeyContext::new(&Digest::new([1; 32]), &Digest::new([2; 32]));
        let circle = Circle {
            reach: self.reach,
            witnesses: 2,
        };
        let seating = Graph::Harary(circle).seat(&context2, self.indices());
        let base: Vec<u8> = (0..BASE.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&BASE[at..at + 2], 16).unwrap())
            .collect();
        let commitments = Commitments::from_bytes(&base.repeat(self.threshold)).unwrap();
        let shared: BTreeMap<_, _> = self
            .indices()
            .map(|member| {
                let sealed: BTreeMap<_, _> = (seating.neighbours(member).into_iter())
                    .map(|to| (to, vec![member.get().to_le_bytes()[0]; 80]))
                    .collect();
                let statement = ShareStatement {
                    member,
                    mask_key: commitments.clone(),
                    self_mask: commitments.clone(),
                    sealed: (sealed.iter())
                        .map(|(to, bytes)| (*to, Digest::of(bytes)))
                        .collect(),
                    signature: Signature([7; 64]),
                };
                (member, ShareKeys { statement, sealed })
            })
            .collect();
        let digests = (shared.iter()).map(|(m, s)| (*m, s.statement.digest(&context2)));
        Briefing::Submit {
            u2: Arc::new(digests.collect::<SharedSet>()),
            shared: Arc::new(shared),
            seating: Arc::new(seating),
        }
    }
}
