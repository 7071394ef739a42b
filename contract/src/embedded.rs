//! Embedded columns of a model are categories of its schema: the inputs that give way to a learned row are those of one category, all of them.

use consort_model::{EmbeddedColumn, Layer};

use crate::features::{DataSchema, FeatureSpec};

/// A column that a model embeds is no category of the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "column {column} of the embedding has first {first} and levels {levels}, and no category of the schema has these inputs: {categories}"
)]
pub struct EmbeddingError {
    /// Place in the embedding's list, from 0.
    pub column: usize,
    /// What it says.
    pub first: u32,
    /// What it says.
    pub levels: u32,
    /// What there is, for people.
    pub categories: String,
}

impl EmbeddingError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        "job_embedding_of_no_category"
    }
}

/// Holds a checked model's embedding, if it has one, to the schema whose inputs it reads.
pub(crate) fn check(schema: &DataSchema, layers: &[Layer]) -> Result<(), EmbeddingError> {
    let Some(Layer::Embedding { columns }) = layers.first() else {
        return Ok(());
    };
    let categories = categories(schema);
    let is_one = |column: &EmbeddedColumn| {
        let same = |category: &Category<'_>| {
            category.first == column.first as usize && category.levels == column.levels as usize
        };
        categories.iter().any(same)
    };
    match columns.iter().position(|column| !is_one(column)) {
        None => Ok(()),
        Some(index) => Err(EmbeddingError {
            column: index,
            first: columns[index].first,
            levels: columns[index].levels,
            categories: shown(&categories),
        }),
    }
}

/// A categorical column of the schema.
struct Category<'s> {
    column: &'s str,
    first: usize,
    levels: usize,
}

fn categories(schema: &DataSchema) -> Vec<Category<'_>> {
    let (mut next, mut found) = (0, Vec::new());
    for feature in schema.features() {
        if let FeatureSpec::OneHot { column, levels } = feature {
            found.push(Category {
                column,
                first: next,
                levels: levels.len(),
            });
        }
        next += feature.inputs();
    }
    found
}

/// The first few, so that an error stays readable.
fn shown(categories: &[Category<'_>]) -> String {
    const MOST: usize = 8;
    if categories.is_empty() {
        return "it has none".to_owned();
    }
    let one = |category: &Category<'_>| {
        let Category {
            column,
            first,
            levels,
        } = category;
        format!("{column} has first {first} and levels {levels}")
    };
    let mut texts: Vec<_> = categories.iter().take(MOST).map(one).collect();
    if categories.len() > MOST {
        texts.push(format!("{} more", categories.len() - MOST));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{MissingValues, TargetSpec};

    /// Inputs: age 0, ward 1 to 3, stage 4.
    fn schema() -> DataSchema {
        let one_hot = |column: &str, levels: &[&str]| FeatureSpec::OneHot {
            column: column.to_owned(),
            levels: levels.iter().map(|level| (*level).to_owned()).collect(),
        };
        let age = FeatureSpec::Numeric {
            column: "age".to_owned(),
            center: 50.0,
            scale: 10.0,
            clip: 3.0,
        };
        let features = vec![
            age,
            one_hot("ward", &["a", "b", "c", "d"]),
            one_hot("stage", &["0", "1"]),
        ];
        let target = TargetSpec::binary("sick", 0.5);
        DataSchema::new(features, target, MissingValues::Refuse).unwrap()
    }

    fn embedding(columns: &[(u32, u32)]) -> Vec<Layer> {
        let column = |&(first, levels): &(u32, u32)| EmbeddedColumn {
            first,
            levels,
            outputs: 2,
        };
        let columns = columns.iter().map(column).collect();
        vec![Layer::Embedding { columns }, Layer::Dense { outputs: 1 }]
    }

    #[test]
    fn categories_are_embedded_whole_and_nothing_else_is() {
        let schema = schema();
        for columns in [&[(1, 4)][..], &[(4, 2)], &[(1, 4), (4, 2)]] {
            assert_eq!(check(&schema, &embedding(columns)), Ok(()));
        }
        for (columns, column) in [
            (&[(0, 2)][..], 0),
            (&[(1, 3)], 0),
            (&[(2, 3)], 0),
            (&[(1, 5)], 0),
            (&[(1, 4), (4, 1)], 1),
        ] {
            let refused = check(&schema, &embedding(columns)).unwrap_err();
            assert_eq!(refused.column, column);
            assert_eq!(refused.code(), "job_embedding_of_no_category");
            let shown = refused.to_string();
            assert!(
                shown.contains("ward has first 1 and levels 4, stage has first 4 and levels 2"),
                "{shown}"
            );
        }
    }
}
