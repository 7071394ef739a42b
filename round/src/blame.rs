//! Blame that does not rest on the word of whoever tells it: each record holds what the culprit itself signed, so that any
//! member or auditor who has the announcement and the adverts comes to the same verdict.
//!
//! Three faults of members leave such a trace: saying two things, opening a share that is not on the owner's polynomial, and
//! sealing a box that does not hold what its owner committed to. Silence leaves none; who does not answer is merely named.
//!
//! # Security
//! An honest member signs one message of a kind in an attempt, opens shares that it has checked, and seals what it committed
//! to: no record against it verifies, whatever the others and the coordinator sign. A dealer that signs two statements and
//! shows one to a holder and the other to the auditor convicts nobody but itself: the holder's answer names U2 with the
//! statement that the holder was shown, and two statements are a [`Blame::Contradiction`] of the dealer.

use std::collections::BTreeMap;

use consort_aggregation::{
    AGREEMENT_BYTES, Canonical, CanonicalError, CanonicalReader, Commitments, Digest,
    MAX_THRESHOLD, MemberIndex, RevealedAgreement, Share, open_revealed,
};
use consort_contract::Signature;

use crate::messages::SharedSet;
pub use crate::proceedings::Proceedings;

/// Most members that a statement or an answer can name: a list beyond it is not read.
pub(crate) const MAX_MEMBERS: usize = 4096;

/// Most bytes of one signed message in a record: commitments of two secrets and an entry of 60 bytes for each member.
const MAX_SIGNED_BYTES: usize = 2 * 32 * MAX_THRESHOLD as usize + 64 * MAX_MEMBERS + 1024;

/// A message as its signer signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The canonical bytes.
    pub bytes: Vec<u8>,
    /// By the identity key of the member that the bytes name.
    pub signature: Signature,
}

/// Evidence against one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blame {
    /// Two different messages of one kind in one context.
    Contradiction {
        /// The one.
        first: Signed,
        /// The other.
        second: Signed,
    },
    /// A share opened in P6 that does not lie on the polynomial that its owner committed to.
    WrongShare {
        /// The owner's statement (P3).
        statement: Signed,
        /// The holder's answer (P6).
        answer: Signed,
        /// U2 as the holder answered under it: the statement is the owner's in it. `None` in a record from before answers
        /// named U2: it rests on whatever statement the owner signed.
        shared: Option<SharedSet>,
    },
    /// A box that its sender signed for and that does not hold two shares on the committed polynomials.
    WrongBox {
        /// The sender's statement (P3).
        statement: Signed,
        /// The box.
        sealed: Vec<u8>,
        /// For whom it is.
        to: MemberIndex,
        /// What the two agreed on, revealed by the member it is for.
        agreement: RevealedAgreement,
    },
}

/// What the member that a wrong box is for tells the coordinator, which has the rest of the record: the dealer's statement and
/// the box. So small that no vector fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Who sealed the box.
    pub dealer: MemberIndex,
    /// What the two agreed on, revealed.
    pub agreement: RevealedAgreement,
}

/// Why a record proves nothing against anybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The bytes are no message that blame is built on.
    #[error("a message of the record is malformed: {0}")]
    Malformed(#[from] CanonicalError),
    /// A part of a message is no key, share or index.
    #[error("a part of the record is not what its place demands")]
    Material,
    /// A message is of another attempt or another key list.
    #[error("a message of the record belongs to another attempt")]
    Context,
    /// A signature does not hold.
    #[error("a signature in the record does not hold")]
    Signature,
    /// The statement is not the one that the holder answered under.
    #[error("the statement is not the one that the holder answered under")]
    Statement,
    /// The revealed agreement is not the one of the two members.
    #[error("the revealed agreement is not the one of the two members")]
    Agreement,
    /// All is as it should be.
    #[error("the record shows no fault")]
    NoFault,
}

impl Unproven {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "blame_malformed",
            Self::Material => "blame_material",
            Self::Context => "blame_context",
            Self::Signature => "blame_signature",
            Self::Statement => "blame_statement",
            Self::Agreement => "blame_agreement",
            Self::NoFault => "blame_no_fault",
        }
    }
}

impl Blame {
    /// Of what the record convicts: `contradiction`, `wrong-share` or `wrong-box`.
    pub fn fault(&self) -> &'static str {
        match self {
            Self::Contradiction { .. } => CONTRADICTION,
            Self::WrongShare { .. } => WRONG_SHARE,
            Self::WrongBox { .. } => WRONG_BOX,
        }
    }

    /// Whether the verdict rests on one statement of a dealer that may have signed another: a wrong share in a record from
    /// before answers named U2.
    pub fn rests_on_one_statement(&self) -> bool {
        match self {
            Self::WrongShare { shared, .. } => shared.is_none(),
            Self::Contradiction { .. } | Self::WrongBox { .. } => false,
        }
    }

    /// The member that the record convicts.
    ///
    /// # Errors
    /// [`Unproven`]: then the record says nothing about anybody.
    pub fn verify(&self, about: &Proceedings) -> Result<MemberIndex, Unproven> {
        match self {
            Self::Contradiction { first, second } => {
                let (one, other) = (about.read(first)?, about.read(second)?);
                let same_place = (one.kind, one.member) == (other.kind, other.member);
                if same_place && first.bytes != second.bytes {
                    Ok(one.member)
                } else {
                    Err(Unproven::NoFault)
                }
            }
            Self::WrongShare {
                statement,
                answer,
                shared,
            } => {
                let holder = about.read(answer)?.member;
                let dealt = about.statement(statement)?;
                let Opened {
                    u2,
                    shares: [self_mask, mask_key],
                } = opened(&answer.bytes)?;
                let digest = Digest::of(&statement.bytes);
                let meant = match (u2, shared) {
                    (None, None) => true,
                    (Some(u2), Some(shared)) => {
                        shared.root() == u2 && shared.statement(dealt.owner) == Some(&digest)
                    }
                    (None, Some(_)) | (Some(_), None) => false,
                };
                if !meant {
                    return Err(Unproven::Statement);
                }
                let wrong = |shares: &BTreeMap<MemberIndex, Share>, committed: &Commitments| {
                    let share = shares.get(&dealt.owner);
                    share.is_some_and(|share| !committed.verify(holder, share))
                };
                if wrong(&self_mask, &dealt.self_mask) || wrong(&mask_key, &dealt.mask_key) {
                    Ok(holder)
                } else {
                    Err(Unproven::NoFault)
                }
            }
            Self::WrongBox {
                statement,
                sealed,
                to,
                agreement,
            } => {
                let dealt = about.statement(statement)?;
                let from = dealt.owner;
                if dealt.sealed.get(to) != Some(&Digest::of(sealed)) {
                    return Err(Unproven::Context);
                }
                let share_key = |member| {
                    let head = about.heads.get(member).ok_or(Unproven::Context)?;
                    Ok::<_, Unproven>(head.share_key)
                };
                if !agreement.verify(&share_key(to)?, &share_key(&from)?, &about.context2) {
                    return Err(Unproven::Agreement);
                }
                let opens = open_revealed(agreement, &about.context2, from, *to, sealed);
                let right = opens.is_ok_and(|pair| {
                    dealt.mask_key.verify(*to, &pair.mask_key)
                        && dealt.self_mask.verify(*to, &pair.self_mask)
                });
                if right {
                    Err(Unproven::NoFault)
                } else {
                    Ok(from)
                }
            }
        }
    }

    /// The canonical encoding, for a log.
    pub fn encode(&self) -> Vec<u8> {
        let label = match self {
            Self::WrongShare {
                shared: Some(_), ..
            } => BLAME_V2,
            Self::Contradiction { .. } | Self::WrongShare { .. } | Self::WrongBox { .. } => BLAME,
        };
        let head = Canonical::new(label).str(self.fault());
        let signed = |canonical: Canonical, message: &Signed| {
            canonical.bytes(&message.bytes).bytes(&message.signature.0)
        };
        match self {
            Self::Contradiction { first, second } => signed(signed(head, first), second).finish(),
            Self::WrongShare {
                statement,
                answer,
                shared,
            } => {
                let mut canonical = signed(signed(head, statement), answer);
                if let Some(shared) = shared {
                    canonical = canonical.list(shared.iter().len());
                    for (member, statement) in shared.iter() {
                        canonical = canonical
                            .u64(member.get().into())
                            .bytes(statement.as_bytes());
                    }
                }
                canonical.finish()
            }
            Self::WrongBox {
                statement,
                sealed,
                to,
                agreement,
            } => signed(head, statement)
                .bytes(sealed)
                .u64(to.get().into())
                .bytes(&agreement.to_bytes())
                .finish(),
        }
    }

    /// Reads what [`Self::encode`] wrote. A record that can be read is not yet one that verifies.
    ///
    /// # Errors
    /// [`Unproven::Malformed`] or [`Unproven::Material`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Unproven> {
        let newer = CanonicalReader::new(bytes, BLAME_V2);
        let v2 = newer.is_ok();
        let mut reader = newer.or_else(|_| CanonicalReader::new(bytes, BLAME))?;
        let kind = reader.str(32)?;
        let first = signed(&mut reader)?;
        let blame = match kind {
            WRONG_SHARE if v2 => Self::WrongShare {
                statement: first,
                answer: signed(&mut reader)?,
                shared: Some(shared_set(&mut reader)?),
            },
            // Nothing else has a second version.
            _ if v2 => return Err(Unproven::Material),
            CONTRADICTION => Self::Contradiction {
                first,
                second: signed(&mut reader)?,
            },
            WRONG_SHARE => Self::WrongShare {
                statement: first,
                answer: signed(&mut reader)?,
                shared: None,
            },
            WRONG_BOX => Self::WrongBox {
                statement: first,
                // A sender may sign for a box of any length, and the box is what convicts it: bounded, not exact.
                sealed: reader.bytes(MAX_SIGNED_BYTES)?.to_vec(),
                to: index(reader.u64()?)?,
                agreement: RevealedAgreement::from_bytes(&reader.array::<AGREEMENT_BYTES>()?)
                    .map_err(|_| Unproven::Material)?,
            },
            _ => return Err(Unproven::Material),
        };
        reader.finish()?;
        Ok(blame)
    }
}

const BLAME: &str = "consort/round/blame/v1";
/// Of a wrong share, since answers name U2.
const BLAME_V2: &str = "consort/round/blame/v2";
const CONTRADICTION: &str = "contradiction";
const WRONG_SHARE: &str = "wrong-share";
const WRONG_BOX: &str = "wrong-box";

fn signed(reader: &mut CanonicalReader<'_>) -> Result<Signed, Unproven> {
    Ok(Signed {
        bytes: reader.bytes(MAX_SIGNED_BYTES)?.to_vec(),
        signature: Signature(reader.array()?),
    })
}

pub(crate) fn index(position: u64) -> Result<MemberIndex, Unproven> {
    let position = u32::try_from(position).ok();
    position
        .and_then(MemberIndex::new)
        .ok_or(Unproven::Material)
}

/// The kinds of messages that a member signs once in an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Advert,
    Shares,
    Update,
    Confirmation,
    Unmask,
}

/// Every label, and how many sets' hashes stand between the context and the member (docs/protocol.md, "Flow"). The first
/// versions of three of them had H(U2) in the place of S(U2), or nothing: records in older logs have them.
const KINDS: [(Kind, &str, usize); 8] = [
    (Kind::Advert, "consort/round/advert/v1", 0),
    (Kind::Shares, "consort/round/shares/v1", 0),
    (Kind::Update, "consort/round/update/v1", 1),
    (Kind::Update, "consort/round/update/v2", 1),
    (Kind::Confirmation, "consort/round/confirmation/v1", 0),
    (Kind::Confirmation, "consort/round/confirmation/v2", 0),
    (Kind::Unmask, UNMASK_V1, 1),
    (Kind::Unmask, UNMASK, 2),
];

const UNMASK_V1: &str = "consort/round/unmask/v1";
const UNMASK: &str = "consort/round/unmask/v2";

struct Said {
    kind: Kind,
    member: MemberIndex,
}

struct Dealt {
    owner: MemberIndex,
    mask_key: Commitments,
    self_mask: Commitments,
    sealed: BTreeMap<MemberIndex, Digest>,
}

impl Proceedings {
    /// Who said this in this attempt: reads the head of a message and checks its signature.
    fn read(&self, message: &Signed) -> Result<Said, Unproven> {
        let known = KINDS.iter().find_map(|(kind, label, sets)| {
            let reader = CanonicalReader::new(&message.bytes, label).ok()?;
            Some((*kind, *sets, reader))
        });
        let (kind, sets, mut reader) = known.ok_or(Unproven::Material)?;
        let expected = match kind {
            Kind::Advert => &self.context,
            Kind::Shares | Kind::Update | Kind::Confirmation | Kind::Unmask => {
                self.context2.digest()
            }
        };
        if reader.array::<32>()? != *expected.as_bytes() {
            return Err(Unproven::Context);
        }
        for _ in 0..sets {
            reader.array::<32>()?;
        }
        let member = index(reader.u64()?)?;
        let signer = self.cohort.get(&member).ok_or(Unproven::Context)?;
        signer
            .identity
            .verify(&message.bytes, &message.signature)
            .map_err(|_| Unproven::Signature)?;
        Ok(Said { kind, member })
    }

    fn statement(&self, message: &Signed) -> Result<Dealt, Unproven> {
        let owner = self.read(message)?.member;
        let mut reader = CanonicalReader::new(&message.bytes, "consort/round/shares/v1")?;
        reader.array::<32>()?;
        reader.u64()?;
        let mut commitments = || {
            let bytes = reader.bytes(32 * MAX_THRESHOLD as usize)?;
            Commitments::from_bytes(bytes).map_err(|_| Unproven::Material)
        };
        let (mask_key, self_mask) = (commitments()?, commitments()?);
        let mut sealed = BTreeMap::new();
        for _ in 0..reader.list(MAX_MEMBERS)? {
            sealed.insert(index(reader.u64()?)?, Digest::new(reader.array()?));
        }
        reader.finish()?;
        Ok(Dealt {
            owner,
            mask_key,
            self_mask,
            sealed,
        })
    }
}

fn shared_set(reader: &mut CanonicalReader<'_>) -> Result<SharedSet, Unproven> {
    let mut statements = BTreeMap::new();
    for _ in 0..reader.list(MAX_MEMBERS)? {
        let member = index(reader.u64()?)?;
        // In the order of the index, once each: one content has one encoding.
        let last = statements.last_key_value().map(|(member, _)| *member);
        if last.is_some_and(|last| last >= member) {
            return Err(Unproven::Material);
        }
        statements.insert(member, Digest::new(reader.array()?));
    }
    Ok(statements.into_iter().collect())
}

/// An answer to P6.
struct Opened {
    /// S(U2), since answers name it.
    u2: Option<Digest>,
    /// Of self-masks and of mask keys, by owner.
    shares: [BTreeMap<MemberIndex, Share>; 2],
}

fn opened(bytes: &[u8]) -> Result<Opened, Unproven> {
    let newer = CanonicalReader::new(bytes, UNMASK);
    let v2 = newer.is_ok();
    let mut reader = newer.or_else(|_| CanonicalReader::new(bytes, UNMASK_V1))?;
    reader.array::<32>()?;
    let u2 = v2
        .then(|| reader.array::<32>())
        .transpose()?
        .map(Digest::new);
    reader.array::<32>()?;
    reader.u64()?;
    let mut shares = [BTreeMap::new(), BTreeMap::new()];
    for kind in &mut shares {
        for _ in 0..reader.list(MAX_MEMBERS)? {
            let owner = index(reader.u64()?)?;
            let share = Share::from_bytes(reader.array()?).map_err(|_| Unproven::Material)?;
            kind.insert(owner, share);
        }
    }
    reader.finish()?;
    Ok(Opened { u2, shares })
}
