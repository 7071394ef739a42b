//! Job files, in YAML or JSON: read, checked as the coordinator and every member will, and every error with its line and field.

use std::path::Path;

use consort_contract::job_text::without_place;
use consort_contract::{Job, JobDocument, JobError, JobKind, JobTextError};
use consort_daemon::config::{self, ConfigError};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::failure::Failure;

/// Most bytes of a job file: that of the longest job that can be submitted.
const MAX_JOB_BYTES: usize = 1 << 20;

/// Reads a job file: JSON if its name ends so, or its first character is that of a JSON object; YAML otherwise.
///
/// # Errors
/// [`Failure`] of usage, which names the file, the line and the field.
pub(crate) fn load(path: &Path) -> Result<Job, Failure> {
    let text = config::read(path)?;
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json")
        || text.trim_start().starts_with('{');
    parse(&text, is_json).map_err(|problem| match problem {
        Problem::File(text) => ConfigError::invalid(path, text).into(),
        Problem::Job(error, text) => Failure::usage(error.code(), ConfigError::invalid(path, text)),
    })
}

/// What is wrong with a job file.
#[derive(Debug)]
enum Problem {
    /// It is not a job document.
    File(String),
    /// It is one that cannot be honoured.
    Job(JobError, String),
}

fn parse(text: &str, is_json: bool) -> Result<Job, Problem> {
    if text.len() > MAX_JOB_BYTES {
        let what = format!(
            "it has {} bytes; a job has at most {MAX_JOB_BYTES}",
            text.len()
        );
        return Err(Problem::File(what));
    }
    let document = if is_json {
        JobDocument::from_json(text)
    } else {
        from_yaml(text)
    };
    let document = document.map_err(|error| Problem::File(error.to_string()))?;
    let kind = document.algorithm.kind();
    Job::new(document).map_err(|error| {
        let field = field_of(&error, kind);
        let line = line_of(text, field).map_or(String::new(), |line| format!("line {line}: "));
        let named = match &error {
            JobError::Range { .. } => error.to_string(),
            JobError::MemberTwice(_)
            | JobError::Stranger(_)
            | JobError::Thresholds(_)
            | JobError::Model(_)
            | JobError::Embedding(_)
            | JobError::Query(_) => format!("{field}: {error}"),
        };
        Problem::Job(error, format!("{line}{named}"))
    })
}

fn from_yaml(text: &str) -> Result<JobDocument, JobTextError> {
    let mut field = String::new();
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        let (document, at) = JobDocument::with_field(yaml);
        field = at;
        document
    })
    .map_err(|error| JobTextError {
        at: error.location().map(|at| (at.line(), at.column())),
        field,
        problem: without_place(&error.to_string()),
    })
}

/// The field that a job is refused for, as a file writes it.
fn field_of(error: &JobError, kind: JobKind) -> &'static str {
    match error {
        JobError::Range { field, .. } => field,
        JobError::MemberTwice(_) | JobError::Stranger(_) => "members",
        JobError::Thresholds(_) => "aggregation",
        JobError::Model(_) | JobError::Embedding(_) => "model",
        JobError::Query(_) if kind == JobKind::Evaluate => "evaluate",
        JobError::Query(_) => "stats",
    }
}

/// The line of a field, or of the nearest table above it that the file has. YAML takes JSON too, so one reader finds both.
fn line_of(text: &str, field: &str) -> Option<u64> {
    let mut tree: Tree = serde_saphyr::from_str(text).ok()?;
    let mut line = None;
    for name in field.split('.') {
        let Tree::Table(entries) = tree else { break };
        let Some((_, at, below)) = entries.into_iter().find(|(key, _, _)| key == name) else {
            break;
        };
        line = Some(at);
        tree = below;
    }
    line
}

/// A file as a tree of tables with the line of each entry; what is no table has nothing that could be named.
enum Tree {
    Leaf,
    Table(Vec<(String, u64, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        while items.next_element::<Tree>()?.is_some() {}
        Ok(Tree::Leaf)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = items.next_key::<Spanned<String>>()? {
            let line = key.defined.line();
            entries.push((key.value, line, items.next_value()?));
        }
        Ok(Tree::Table(entries))
    }
}

#[cfg(test)]
mod tests;
