//! One line of a privacy ledger: which round of which job released what, in a fixed text form.

use std::fmt;

use crate::mechanism::{Mechanism, Relation, Truncation, Unit};
use crate::quantity::{NoiseMultiplier, SamplingRate, Steps};

/// Longest name of a data set, purpose or job: ample for a path or a hash, short for a line of a log.
const MAX_NAME: usize = 128;

/// First word of a line.
const VERSION: &str = "consort-debit-v1";

/// The records of a data set of secret size.
const AT_MOST: &str = "records-at-most";

/// A data set and the purpose for which it may be used: what a cap applies to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    data_set: String,
    purpose: String,
}

impl Account {
    /// Names of 1 to 128 visible ASCII characters each.
    ///
    /// # Errors
    /// [`EntryError::Name`] for anything else.
    pub fn new(data_set: &str, purpose: &str) -> Result<Self, EntryError> {
        Ok(Self {
            data_set: name("data set", data_set)?,
            purpose: name("purpose", purpose)?,
        })
    }

    /// The data set.
    pub fn data_set(&self) -> &str {
        &self.data_set
    }

    /// The purpose.
    pub fn purpose(&self) -> &str {
        &self.purpose
    }
}

/// What is paid for once: one attempt of one round of one job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DebitKey {
    job: String,
    round: u64,
    attempt: u64,
}

impl DebitKey {
    /// A job named by 1 to 128 visible ASCII characters, a round and an attempt.
    ///
    /// # Errors
    /// [`EntryError::Name`] for any other name.
    pub fn new(job: &str, round: u64, attempt: u64) -> Result<Self, EntryError> {
        Ok(Self {
            job: name("job", job)?,
            round,
            attempt,
        })
    }

    /// The job.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// The round.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// The attempt at the round.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }
}

impl fmt::Display for DebitKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "job {}, round {}, attempt {}",
            self.job, self.round, self.attempt
        )
    }
}

/// One debit of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    account: Account,
    sequence: u64,
    key: DebitKey,
    mechanism: Mechanism,
}

impl Entry {
    pub(crate) fn new(
        account: Account,
        sequence: u64,
        key: DebitKey,
        mechanism: Mechanism,
    ) -> Self {
        Self {
            account,
            sequence,
            key,
            mechanism,
        }
    }

    /// The account that paid.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Place in the ledger, from 0.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What was paid for.
    pub fn key(&self) -> &DebitKey {
        &self.key
    }

    /// The release that was accounted.
    pub fn mechanism(&self) -> &Mechanism {
        &self.mechanism
    }

    /// The entry as one line of ASCII without a line end; equal entries give equal lines. Numbers are written with the
    /// fewest digits that read back the same.
    pub fn to_line(&self) -> String {
        let Self {
            account,
            sequence,
            key,
            mechanism,
        } = self;
        let relation = match mechanism.relation() {
            Relation::AddRemove => "add-remove",
            Relation::ReplaceOne => "replace-one",
            Relation::ZeroOut => "zero-out",
        };
        let unit = match mechanism.unit() {
            Unit::Record => "record",
        };
        let truncation = mechanism.truncation().map_or_else(String::new, |cap| {
            let records = if cap.is_bound() { AT_MOST } else { "records" };
            format!(" max-batch={} {records}={}", cap.max_batch(), cap.records())
        });
        format!(
            "{VERSION} data-set={} purpose={} sequence={sequence} job={} round={} attempt={} sigma={} sampling={} \
             steps={} relation={relation} unit={unit}{truncation}",
            account.data_set,
            account.purpose,
            key.job,
            key.round,
            key.attempt,
            mechanism.noise_multiplier().value(),
            mechanism.sampling().value(),
            mechanism.steps().count(),
        )
    }

    /// Reads what [`Self::to_line`] wrote, and nothing else: a line that would be written differently is refused.
    ///
    /// # Errors
    /// [`EntryError::Line`] naming the field.
    pub fn from_line(line: &str) -> Result<Self, EntryError> {
        let mut words = line.split(' ');
        if words.next() != Some(VERSION) {
            return Err(EntryError::Line { field: "version" });
        }
        let mut field = |name: &'static str| {
            let value = words
                .next()
                .and_then(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.ok_or(EntryError::Line { field: name })
        };
        let account = Account::new(field("data-set")?, field("purpose")?)?;
        let sequence = number("sequence", field("sequence")?)?;
        let key = DebitKey::new(
            field("job")?,
            number("round", field("round")?)?,
            number("attempt", field("attempt")?)?,
        )?;
        let wrong = |field| EntryError::Line { field };
        let sigma =
            NoiseMultiplier::new(number("sigma", field("sigma")?)?).map_err(|_| wrong("sigma"))?;
        let sampling = SamplingRate::new(number("sampling", field("sampling")?)?)
            .map_err(|_| wrong("sampling"))?;
        let steps = Steps::new(number("steps", field("steps")?)?).map_err(|_| wrong("steps"))?;
        let relation = match field("relation")? {
            "add-remove" => Relation::AddRemove,
            "replace-one" => Relation::ReplaceOne,
            "zero-out" => Relation::ZeroOut,
            _ => return Err(wrong("relation")),
        };
        let unit = match field("unit")? {
            "record" => Unit::Record,
            _ => return Err(wrong("unit")),
        };
        let mut mechanism = Mechanism::new(sigma, sampling, steps, relation, unit);
        // Only capped batches have these two; what else might follow is refused by the comparison below.
        if let Ok(max_batch) = field("max-batch") {
            let max_batch = number("max-batch", max_batch)?;
            let (name, records) = words
                .next()
                .and_then(|word| word.split_once('='))
                .ok_or(wrong("records"))?;
            let records = number("records", records)?;
            let cap = match name {
                "records" => Truncation::new(max_batch, records),
                AT_MOST => Truncation::of_at_most(max_batch, records),
                _ => return Err(wrong("records")),
            };
            let cap = cap.map_err(|_| wrong("max-batch"))?;
            mechanism = mechanism.truncated(cap);
        }
        let entry = Self::new(account, sequence, key, mechanism);
        if entry.to_line() == line {
            Ok(entry)
        } else {
            Err(wrong("form"))
        }
    }
}

/// A name or a line that is no part of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not a name.
    #[error(
        "the name of the {what} must be 1 to {MAX_NAME} visible ASCII characters without spaces"
    )]
    Name {
        /// What was to be named.
        what: &'static str,
    },
    /// Not a line.
    #[error(
        "a line of the privacy ledger is malformed at its {field}: the storage is damaged; restore it before anything is released"
    )]
    Line {
        /// The first field that is wrong; `form` if the line is not in the one form that is written.
        field: &'static str,
    },
}

impl EntryError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "privacy_name_out_of_range",
            Self::Line { .. } => "privacy_ledger_line_malformed",
        }
    }
}

fn name(what: &'static str, text: &str) -> Result<String, EntryError> {
    if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(EntryError::Name { what })
    }
}

fn number<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, EntryError> {
    text.parse().map_err(|_| EntryError::Line { field })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "consort-debit-v1 data-set=heart purpose=training sequence=3 job=a7 round=2 attempt=0 \
                        sigma=16.6123 sampling=1 steps=1 relation=add-remove unit=record";

    #[test]
    fn a_line_is_read_and_written_back_unchanged() {
        let entry = Entry::from_line(LINE).unwrap();
        assert_eq!(
            (
                entry.sequence(),
                entry.key().round(),
                entry.account().data_set()
            ),
            (3, 2, "heart")
        );
        assert_eq!(entry.mechanism().noise_multiplier().value(), 16.6123);
        assert_eq!(entry.to_line(), LINE);
    }

    #[test]
    fn a_cap_on_batches_of_data_sets_of_secret_size_is_written_as_what_it_is() {
        let line = format!("{LINE} max-batch=32 records-at-most=200");
        let line = line.replace("sampling=1", "sampling=0.1");
        let entry = Entry::from_line(&line).unwrap();
        let cap = entry.mechanism().truncation();
        assert_eq!(cap, Some(Truncation::of_at_most(32, 200).unwrap()));
        assert_eq!(entry.to_line(), line);
        assert_ne!(cap, Some(Truncation::new(32, 200).unwrap()));
    }

    #[test]
    fn a_line_with_a_field_changed_missing_or_added_is_refused() {
        for (from, to, field) in [
            ("-v1", "-v2", "version"),
            ("sequence=3 ", "", "sequence"),
            ("sigma=16.6123", "sigma=0", "sigma"),
            ("sigma=16.6123", "sigma=NaN", "sigma"),
            ("sigma=16.6123", "sigma=16.61230", "form"),
            ("round=2", "round=+2", "form"),
            ("round=2", "round=-2", "round"),
            ("steps=1", "steps=0", "steps"),
            ("relation=add-remove", "relation=add", "relation"),
            ("unit=record", "unit=record max-batch=3", "records"),
            (
                "unit=record",
                "unit=record max-batch=0 records=9",
                "max-batch",
            ),
            (
                "unit=record",
                "unit=record max-batch=3 records=9 more",
                "form",
            ),
            ("unit=record", "unit=record more", "form"),
            ("unit=record", "unit=patient", "unit"),
        ] {
            let changed = LINE.replace(from, to);
            assert_eq!(
                Entry::from_line(&changed),
                Err(EntryError::Line { field }),
                "{changed}"
            );
        }
    }

    #[test]
    fn a_name_with_a_space_or_a_line_end_is_refused() {
        for text in ["", "a b", "a\n", "ä", &"x".repeat(MAX_NAME + 1)] {
            assert!(DebitKey::new(text, 0, 0).is_err());
            assert!(Account::new("heart", text).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_entry_survives_its_line(
            sigma in 1e-3_f64..1e6, sampling in 1e-9_f64..=1.0, steps in 1..1_000_000_u32,
            cap in prop::option::of((1..=u32::MAX, 1..=u32::MAX)),
            round in any::<u64>(), attempt in any::<u64>(), job in "[!-~]{1,128}",
        ) {
            let sigma = NoiseMultiplier::new(sigma).unwrap();
            let sampling = SamplingRate::new(sampling).unwrap();
            let mut mechanism =
                Mechanism::new(sigma, sampling, Steps::new(steps).unwrap(), Relation::ReplaceOne, Unit::Record);
            if let Some((max_batch, records)) = cap {
                mechanism = mechanism.truncated(Truncation::new(max_batch, records).unwrap());
            }
            let key = DebitKey::new(&job, round, attempt).unwrap();
            let entry = Entry::new(Account::new("d", "p").unwrap(), round, key, mechanism);
            prop_assert_eq!(Entry::from_line(&entry.to_line()).unwrap(), entry);
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in ".{0,200}") {
            let _ = Entry::from_line(&text);
        }
    }
}
