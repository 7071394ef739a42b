//! Whether a blame record convicts whom it names: asked of the record alone and of what the log said before it.

use std::collections::{BTreeMap, BTreeSet};

use consort_round::blame::{Blame, Proceedings, Unproven};

use crate::hash::Hash;
use crate::proof::Proof;
use crate::text::{Code, Organisation};

/// A blame record as the log has it.
pub(crate) struct Accusation<'a> {
    pub(crate) organisation: &'a Organisation,
    pub(crate) fault: &'a Code,
    pub(crate) record: &'a Proof,
    pub(crate) proceedings: &'a Proof,
}

/// What a record that verifies rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conviction {
    /// Under which key.
    pub(crate) key: Key,
    /// One statement of a dealer, which may have signed another.
    pub(crate) one_statement: bool,
}

/// Under which key a member was convicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// One that the log enrolled for it.
    Enrolled,
    /// One that the round's context names and the log did not enrol: the roster changed after the log began.
    Announced,
}

impl Accusation<'_> {
    /// Verifies it in the round with this context.
    pub(crate) fn verify(
        &self,
        context: &Hash,
        enrolled: &BTreeMap<Organisation, BTreeSet<Hash>>,
    ) -> Result<Conviction, String> {
        let about = Proceedings::decode(self.proceedings.as_bytes()).map_err(unproven)?;
        if about.context().as_bytes() != &context.0 {
            return Err("it is about another round than the log's".to_owned());
        }
        let record = Blame::decode(self.record.as_bytes()).map_err(unproven)?;
        let culprit = record.verify(&about).map_err(unproven)?;
        let member = about.member(culprit);
        let member =
            member.filter(|member| member.organisation.as_str() == self.organisation.as_str());
        let Some(member) = member else {
            return Err(format!("it does not convict {}", self.organisation));
        };
        if record.fault() != self.fault.as_str() {
            return Err(format!(
                "it shows a {}, not a {}",
                record.fault(),
                self.fault
            ));
        }
        let key = Hash(*member.identity.fingerprint().as_bytes());
        let keys = enrolled.get(self.organisation);
        let key = if keys.is_some_and(|keys| keys.contains(&key)) {
            Key::Enrolled
        } else {
            Key::Announced
        };
        Ok(Conviction {
            key,
            one_statement: record.rests_on_one_statement(),
        })
    }
}

fn unproven(error: Unproven) -> String {
    format!("it convicts nobody: {error}")
}
