//! An evaluation of called classes: how many records are called right, which class is called which, loss.

use consort_model::ModelSpec;
use serde::{Deserialize, Serialize};

use super::Evaluate;
use crate::query::answers::{Answer, number};
use crate::query::estimate::{Estimate, Noised, NoisedBlock};
use crate::query::{Block, QueryError};

/// Most classes of which a table is made that says which is called which: a thousand cells, each with the noise of a count. Of more
/// classes it is told how many records of each are called right and how many are not.
pub const MAX_CONFUSION_CLASSES: usize = 32;

/// The layout of the vector for a target of classes.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassesVector {
    names: Vec<String>,
    /// Of the loss.
    cap: f64,
    count: Block,
    /// A row for each class and in it a cell for each that may be called; of many classes two cells, called right and not.
    confusion: Block,
    /// 1 if the record is called right.
    hits: Block,
    loss: Block,
    elements: usize,
}

/// How well a model tells classes apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassScores {
    /// Share of the records that are called what they are.
    pub accuracy: Estimate,
    /// Mean loss in nats; each record's is limited.
    pub loss: Estimate,
    /// To what.
    pub loss_limit: f64,
    /// Class by class, in the order of the target.
    pub classes: Vec<ClassScore>,
    /// Records by class and called class, a row for each class; noise makes some of the counts negative. None of more than
    /// [`MAX_CONFUSION_CLASSES`] classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Vec<Vec<f64>>>,
    /// Of each count of the table.
    pub standard_error: f64,
}

/// How well a model does on one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassScore {
    /// Its name.
    pub class: String,
    /// Records of it.
    pub records: Estimate,
    /// Share of them that are called so.
    pub sensitivity: Estimate,
    /// Share of those called so that are; not told of more than [`MAX_CONFUSION_CLASSES`] classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Estimate>,
}

impl ClassesVector {
    pub(super) fn new(
        evaluate: &Evaluate,
        names: &[String],
        model: &ModelSpec,
    ) -> Result<Self, QueryError> {
        let cells = names.len() * row_length(names.len());
        let weights = &evaluate.weights;
        let blocks = Block::lay(
            [
                (1, weights.count),
                (cells, weights.confusion),
                (1, weights.scores),
                (1, weights.loss),
            ],
            std::iter::empty(),
        )?;
        Ok(Self {
            names: names.to_vec(),
            cap: model.loss_cap(),
            count: blocks[0],
            confusion: blocks[1],
            hits: blocks[2],
            loss: blocks[3],
            elements: blocks.iter().map(|block| block.length).sum(),
        })
    }

    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    pub(super) fn record(&self, label: f32, outputs: &[f32], row: &mut [f32]) -> Option<()> {
        let classes = self.names.len();
        let class = (0..classes).find(|class| number(*class) == f64::from(label))?;
        let called = called(outputs)?;
        let cell = if row_length(classes) == classes {
            called
        } else {
            usize::from(called != class)
        };
        self.count.put(row, 0, 1.0);
        self.confusion
            .put(row, class * row_length(classes) + cell, 1.0);
        let hit = if called == class { 1.0 } else { 0.0 };
        self.hits.put(row, 0, hit);
        let loss = softmax_cross_entropy(outputs, class).min(self.cap);
        self.loss.put(row, 0, loss / self.cap);
        Some(())
    }

    pub(super) fn answer(&self, sum: &Noised<'_>) -> (Estimate, Answer) {
        let count = sum.block(&self.count).at(0);
        let mean = |block, most: f64| {
            let total: Estimate = sum.block(block).at(0).times(most);
            total.quotient(&count).within(0.0, most)
        };
        let table = sum.block(&self.confusion);
        let scores = ClassScores {
            accuracy: mean(&self.hits, 1.0),
            loss: mean(&self.loss, self.cap),
            loss_limit: self.cap,
            classes: self.scores(&table),
            confusion: (row_length(self.names.len()) == self.names.len()).then(|| {
                let rows = table.values();
                rows.chunks(self.names.len()).map(<[f64]>::to_vec).collect()
            }),
            standard_error: table.standard_error(),
        };
        (count, Answer::Classes(scores))
    }

    fn scores(&self, table: &NoisedBlock) -> Vec<ClassScore> {
        let (values, error) = (table.values(), table.standard_error());
        let length = row_length(self.names.len());
        let whole = length == self.names.len();
        let others = number(length - 1);
        let share = |right: f64, wrong: f64| {
            Estimate::share(right, wrong, (1.0, others), error).within(0.0, 1.0)
        };
        let score = |(class, name): (usize, &String)| {
            let row = &values[class * length..][..length];
            let all: f64 = row.iter().sum();
            let right = row[if whole { class } else { 0 }];
            let called = || values.iter().skip(class).step_by(length).sum::<f64>();
            ClassScore {
                class: name.clone(),
                records: Estimate::new(all, number(length).sqrt() * error),
                sensitivity: share(right, all - right),
                precision: whole.then(|| share(right, called() - right)),
            }
        };
        self.names.iter().enumerate().map(score).collect()
    }
}

/// Cells of a row of the table.
fn row_length(classes: usize) -> usize {
    if classes <= MAX_CONFUSION_CLASSES {
        classes
    } else {
        2
    }
}

/// The class that is called: that of the largest output, and the first of several. None if an output is not finite.
fn called(outputs: &[f32]) -> Option<usize> {
    let finite = outputs.iter().all(|output| output.is_finite());
    let mut largest = 0;
    for (class, output) in outputs.iter().enumerate() {
        if *output > outputs[largest] {
            largest = class;
        }
    }
    (finite && !outputs.is_empty()).then_some(largest)
}

/// −ln softmax(z)[class] of finite outputs, in nats. The largest output is taken away first, so that nothing overflows.
fn softmax_cross_entropy(outputs: &[f32], class: usize) -> f64 {
    let most = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let below = |output: f32| f64::from(output) - f64::from(most);
    let sum: f64 = outputs.iter().map(|output| below(*output).exp()).sum();
    sum.ln() - below(outputs[class])
}
