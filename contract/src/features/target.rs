//! The column that is to be predicted, and how its values become labels.

use consort_aggregation::Canonical;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{MAX_LEVELS, SchemaError, check_finite, check_levels, check_name, same_level};
use crate::plan::narrow;

/// Largest bound of a count: labels are f32, which hold every integer up to it.
pub const MAX_COUNT: u32 = 1 << 24;

/// The column that is to be predicted.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "TargetFile", into = "TargetFile")]
pub struct TargetSpec {
    /// Name of the column in the header.
    pub column: String,
    /// What its values are.
    pub kind: TargetKind,
}

/// What the values of a target are, with the public constants that make labels of them.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetKind {
    /// One of two: a record is positive (label 1) when its value is above a number, and negative (label 0) otherwise.
    Binary {
        /// The number.
        positive_above: f64,
    },
    /// One of several classes: the label is the place of its name, from 0. A value that is no class is an error of the row.
    Classes {
        /// The names, at least two; `1` and `1.0` are the same.
        names: Vec<String>,
    },
    /// A number: the label is where it lies between public bounds, from 0 to 1. A value beyond a bound counts as the bound, like that of
    /// a feature.
    Number {
        /// The value of label 0, in the unit of the column.
        least: f64,
        /// The value of label 1.
        most: f64,
    },
    /// A count, an integer from 0: the label is the count itself, and what is beyond the public bound counts as the bound.
    Count {
        /// The bound.
        most: u32,
    },
}

/// Why a value is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLabel {
    /// Not a finite number.
    NotANumber,
    /// None of the classes.
    UnknownClass,
    /// Not an integer from 0.
    NotACount,
}

/// A label, and whether its value lay beyond a public bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// What the loss reads.
    pub value: f32,
    /// The value counts as the bound.
    pub beyond: bool,
}

impl TargetSpec {
    /// A target of two outcomes.
    pub fn binary(column: &str, positive_above: f64) -> Self {
        Self {
            column: column.to_owned(),
            kind: TargetKind::Binary { positive_above },
        }
    }

    /// # Errors
    /// [`SchemaError`] names the column and what to change.
    pub(super) fn check(&self) -> Result<(), SchemaError> {
        let column = &self.column;
        check_name(column)?;
        match &self.kind {
            TargetKind::Binary { positive_above } => {
                check_finite(column, "positive_above", *positive_above)
            }
            TargetKind::Classes { names } => check_levels(column, names),
            TargetKind::Number { least, most } => {
                check_finite(column, "number.least", *least)?;
                check_finite(column, "number.most", *most)?;
                let width = most - least;
                let usable = *least < *most && width.is_normal();
                usable.then_some(()).ok_or(SchemaError::TargetBounds {
                    column: column.clone(),
                })
            }
            TargetKind::Count { most } => {
                let usable = (1..=MAX_COUNT).contains(most);
                usable.then_some(()).ok_or(SchemaError::TargetCount {
                    column: column.clone(),
                })
            }
        }
    }

    /// Its parts of a canonical encoding. The second part of a binary target has 8 bytes, the names of the others have fewer.
    pub fn encode(&self, canonical: Canonical) -> Canonical {
        let head = canonical.str(&self.column);
        match &self.kind {
            TargetKind::Binary { positive_above } => head.u64(positive_above.to_bits()),
            TargetKind::Classes { names } => names
                .iter()
                .fold(head.str("classes").list(names.len()), |canonical, name| {
                    canonical.str(name)
                }),
            TargetKind::Number { least, most } => {
                head.str("number").u64(least.to_bits()).u64(most.to_bits())
            }
            TargetKind::Count { most } => head.str("count").u64((*most).into()),
        }
    }
}

impl TargetKind {
    /// What such a target is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Binary { .. } => "positive_above",
            Self::Classes { .. } => "classes",
            Self::Number { .. } => "number",
            Self::Count { .. } => "count",
        }
    }

    /// The label of a value as it stands in a file, which is not missing.
    ///
    /// # Errors
    /// [`NoLabel`]. A value beyond a bound is none: whether a file is refused would tell of one record.
    pub fn label(&self, field: &str) -> Result<Label, NoLabel> {
        let number = || {
            let number = field.parse().ok();
            let finite = number.filter(|number: &f64| number.is_finite());
            finite.ok_or(NoLabel::NotANumber)
        };
        match self {
            Self::Binary { positive_above } => Ok(within(if number()? > *positive_above {
                1.0
            } else {
                0.0
            })),
            Self::Classes { names } => names
                .iter()
                .position(|name| same_level(name, field))
                .map(|class| within(number_of(class)))
                .ok_or(NoLabel::UnknownClass),
            Self::Number { least, most } => {
                let value = number()?;
                Ok(Label {
                    value: narrow((value.clamp(*least, *most) - least) / (most - least)),
                    beyond: !(*least..=*most).contains(&value),
                })
            }
            Self::Count { most } => {
                let value = number()?;
                if value < 0.0 || value.fract() != 0.0 {
                    return Err(NoLabel::NotACount);
                }
                let most = f64::from(*most);
                Ok(Label {
                    value: narrow(value.min(most)),
                    beyond: value > most,
                })
            }
        }
    }

    /// How a prediction follows from a model's outputs, for whoever uses the model; nothing for a binary target, whose output is
    /// the logit of the positive class.
    pub fn prediction(&self) -> Option<String> {
        match self {
            Self::Binary { .. } => None,
            Self::Classes { .. } => Some(
                "the class of the largest output; probabilities are the softmax of the outputs"
                    .to_owned(),
            ),
            Self::Number { least, most } => Some(format!("{least} + {} * output", most - least)),
            Self::Count { .. } => Some("exp(output), the expected count".to_owned()),
        }
    }
}

fn within(value: f32) -> Label {
    Label {
        value,
        beyond: false,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "there are at most MAX_LEVELS classes"
)]
fn number_of(class: usize) -> f32 {
    class as f32
}

/// The form in documents: what the values are stands under its name.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TargetFile {
    column: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    positive_above: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classes: Option<Classes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<NumberFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<CountFile>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct NumberFile {
    least: f64,
    most: f64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct CountFile {
    most: u32,
}

impl TryFrom<TargetFile> for TargetSpec {
    type Error = SchemaError;

    fn try_from(file: TargetFile) -> Result<Self, SchemaError> {
        let kinds = [
            file.positive_above
                .map(|positive_above| TargetKind::Binary { positive_above }),
            file.classes
                .map(|Classes(names)| TargetKind::Classes { names }),
            file.number
                .map(|NumberFile { least, most }| TargetKind::Number { least, most }),
            file.count
                .map(|CountFile { most }| TargetKind::Count { most }),
        ];
        let mut kinds = kinds.into_iter().flatten();
        let (Some(kind), None) = (kinds.next(), kinds.next()) else {
            return Err(SchemaError::TargetKinds {
                column: file.column,
            });
        };
        let target = Self {
            column: file.column,
            kind,
        };
        target.check()?;
        Ok(target)
    }
}

impl From<TargetSpec> for TargetFile {
    fn from(target: TargetSpec) -> Self {
        let mut file = Self {
            column: target.column,
            positive_above: None,
            classes: None,
            number: None,
            count: None,
        };
        match target.kind {
            TargetKind::Binary { positive_above } => file.positive_above = Some(positive_above),
            TargetKind::Classes { names } => file.classes = Some(Classes(names)),
            TargetKind::Number { least, most } => file.number = Some(NumberFile { least, most }),
            TargetKind::Count { most } => file.count = Some(CountFile { most }),
        }
        file
    }
}

/// Names, or how many classes there are: their names are then their numbers, from 0.
#[derive(Serialize)]
struct Classes(Vec<String>);

impl<'de> Deserialize<'de> for Classes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ClassesVisitor)
    }
}

struct ClassesVisitor;

impl<'de> de::Visitor<'de> for ClassesVisitor {
    type Value = Classes;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the names of the classes, or how many there are, 2 to {MAX_LEVELS}"
        )
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Classes, E> {
        match usize::try_from(count) {
            Ok(count) if (2..=MAX_LEVELS).contains(&count) => {
                Ok(Classes((0..count).map(|class| class.to_string()).collect()))
            }
            Ok(_) | Err(_) => Err(E::invalid_value(de::Unexpected::Unsigned(count), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<Classes, E> {
        match u64::try_from(count) {
            Ok(count) => self.visit_u64(count),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(count), &self)),
        }
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Classes, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = items.next_element()? {
            // One more than may be is enough to be refused by.
            if names.len() <= MAX_LEVELS {
                names.push(name);
            }
        }
        Ok(Classes(names))
    }
}

#[cfg(test)]
mod tests;
