//! What convicts a coordinator: two statements of one attempt, both under its signature, of which an honest one signs one only.
//! A record of them needs nothing else: whoever has the coordinator's key, from the roster, comes to the same verdict.
//!
//! # Security
//! An honest coordinator stores an announcement and a survivor set before it signs anything that differs, over restarts too: no
//! record against it verifies. One that was started again from an old backup in the middle of an attempt does sign two, and
//! members cannot tell it from one that shows them two views.

use consort_aggregation::{Canonical, CanonicalReader, Digest, RoundKeyContext};
use consort_contract::{ConsortiumId, IdentityKey, JobId, Signature};

use crate::blame::{Signed, Unproven};
use crate::messages::{OPEN, RoundOpen, SURVIVORS, Survivors};
use crate::proceedings::MAX_TERMS_BYTES;
use crate::terms::{Attempt, CONTEXT, RoundNumber};

const SPLIT_VIEW: &str = "consort/round/split-view/v1";

/// Longest of the statements, bytes: a label and three digests.
const MAX_STATEMENT_BYTES: usize = 256;

/// Longest name, bytes.
const MAX_NAME_BYTES: usize = 64;

/// Two contradicting statements of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitView {
    about: About,
    /// Twice: what was signed, and of an announcement the terms that it is the hash of.
    statements: [(Signed, Vec<u8>); 2],
}

/// Which attempt a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The consortium.
    pub consortium: ConsortiumId,
    /// The job.
    pub job: JobId,
    /// The round.
    pub round: RoundNumber,
    /// The attempt.
    pub attempt: Attempt,
}

/// What a coordinator signed twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Two announcements (P0) of one attempt.
    Announcements,
    /// Two survivor sets (P5) under one key list.
    Survivors,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Announcements => "two announcements of one attempt",
            Self::Survivors => "two survivor sets of one attempt",
        })
    }
}

impl SplitView {
    /// The record that two announcements make; `None` unless it convicts.
    pub fn of_announcements(
        first: &RoundOpen,
        second: &RoundOpen,
        coordinator: &IdentityKey,
    ) -> Option<Self> {
        let one = |open: &RoundOpen| (open.signed(), open.terms.canonical().finish());
        let record = Self {
            about: About::of(first),
            statements: [one(first), one(second)],
        };
        record.verify(coordinator).is_ok().then_some(record)
    }

    /// The record that two survivor sets of the attempt of `open` make; `None` unless it convicts.
    pub fn of_survivors(
        open: &RoundOpen,
        context2: &RoundKeyContext,
        [first, second]: [&Survivors; 2],
        coordinator: &IdentityKey,
    ) -> Option<Self> {
        let one = |survivors: &Survivors| (survivors.signed(context2), Vec::new());
        let record = Self {
            about: About::of(open),
            statements: [one(first), one(second)],
        };
        record.verify(coordinator).is_ok().then_some(record)
    }

    /// Which attempt it is about. Two announcements prove it; of survivor sets it is what the member says that kept the record.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Of what it convicts who holds this key.
    ///
    /// # Errors
    /// [`Unproven`]: then it says nothing about anybody.
    pub fn verify(&self, coordinator: &IdentityKey) -> Result<Fault, Unproven> {
        let [(first, terms), (second, other_terms)] = &self.statements;
        for said in [first, second] {
            let holds = coordinator.verify(&said.bytes, &said.signature);
            holds.map_err(|_| Unproven::Signature)?;
        }
        if first.bytes == second.bytes {
            return Err(Unproven::NoFault);
        }
        if CanonicalReader::new(&first.bytes, SURVIVORS).is_ok() {
            if context2_of(first)? != context2_of(second)? {
                return Err(Unproven::Context);
            }
            return Ok(Fault::Survivors);
        }
        for (said, terms) in [(first, terms), (second, other_terms)] {
            let mut reader = CanonicalReader::new(&said.bytes, OPEN)?;
            let context = Digest::new(reader.array()?);
            reader.finish()?;
            if context != Digest::of(terms) || attempt_of(terms)? != self.about {
                return Err(Unproven::Context);
            }
        }
        Ok(Fault::Announcements)
    }

    /// The canonical encoding, for a disk.
    pub fn encode(&self) -> Vec<u8> {
        let head = Canonical::new(SPLIT_VIEW);
        let head = self.about.encode(head);
        let statements = self.statements.iter();
        let statement = |canonical: Canonical, (said, terms): &(Signed, Vec<u8>)| {
            canonical
                .bytes(&said.bytes)
                .bytes(&said.signature.0)
                .bytes(terms)
        };
        statements.fold(head, statement).finish()
    }

    /// Reads what [`Self::encode`] wrote. A record that can be read is not yet one that verifies.
    ///
    /// # Errors
    /// [`Unproven::Malformed`] or [`Unproven::Material`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Unproven> {
        let mut reader = CanonicalReader::new(bytes, SPLIT_VIEW)?;
        let about = About::read(&mut reader)?;
        let mut statement = || {
            let said = Signed {
                bytes: reader.bytes(MAX_STATEMENT_BYTES)?.to_vec(),
                signature: Signature(reader.array()?),
            };
            Ok::<_, Unproven>((said, reader.bytes(MAX_TERMS_BYTES)?.to_vec()))
        };
        let statements = [statement()?, statement()?];
        reader.finish()?;
        Ok(Self { about, statements })
    }
}

impl About {
    fn of(open: &RoundOpen) -> Self {
        let terms = &open.terms;
        Self {
            consortium: terms.consortium.clone(),
            job: terms.job.clone(),
            round: terms.round,
            attempt: terms.attempt,
        }
    }

    fn encode(&self, canonical: Canonical) -> Canonical {
        canonical
            .str(self.consortium.as_str())
            .str(self.job.as_str())
            .u64(self.round.0.into())
            .u64(self.attempt.0.into())
    }

    fn read(reader: &mut CanonicalReader<'_>) -> Result<Self, Unproven> {
        let consortium = ConsortiumId::new(reader.str(MAX_NAME_BYTES)?);
        let job = JobId::new(reader.str(MAX_NAME_BYTES)?);
        let mut number = || {
            let number = u32::try_from(reader.u64()?);
            number.map_err(|_| Unproven::Material)
        };
        Ok(Self {
            consortium: consortium.map_err(|_| Unproven::Material)?,
            job: job.map_err(|_| Unproven::Material)?,
            round: RoundNumber(number()?),
            attempt: Attempt(number()?),
        })
    }
}

/// The attempt that terms announce: the first parts of what ctx is the hash of (docs/protocol.md, "Context").
fn attempt_of(terms: &[u8]) -> Result<About, Unproven> {
    About::read(&mut CanonicalReader::new(terms, CONTEXT)?)
}

/// ctx2, in which a survivor set was signed.
fn context2_of(said: &Signed) -> Result<[u8; 32], Unproven> {
    let mut reader = CanonicalReader::new(&said.bytes, SURVIVORS)?;
    let context2 = reader.array()?;
    let (_set, _inputs_root) = (reader.array::<32>()?, reader.array::<32>()?);
    reader.finish()?;
    Ok(context2)
}
