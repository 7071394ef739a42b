//! Job documents as text: JSON, and which field is wrong with it.

use serde::Deserializer;

use crate::job::JobDocument;

/// Why a text is no job document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct JobTextError {
    /// Line and column, from 1, where they are known.
    pub at: Option<(u64, u64)>,
    /// The field, as `privacy.epsilon`; empty for the whole.
    pub field: String,
    /// What is wrong.
    pub problem: String,
}

impl std::fmt::Display for JobTextError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)
    }
}

impl JobTextError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        "job_malformed"
    }
}

impl JobDocument {
    /// Reads JSON; [`crate::Job::new`] checks what it says.
    ///
    /// # Errors
    /// [`JobTextError`] names the line and the field.
    pub fn from_json(text: &str) -> Result<Self, JobTextError> {
        let mut json = serde_json::Deserializer::from_str(text);
        let (document, field) = Self::with_field(&mut json);
        let document = document.and_then(|document| json.end().map(|()| document));
        document.map_err(|error| {
            let at = |number| u64::try_from(number).unwrap_or(u64::MAX);
            JobTextError {
                at: (error.line() > 0).then(|| (at(error.line()), at(error.column()))),
                field,
                problem: without_place(&error.to_string()),
            }
        })
    }

    /// Reads by any deserializer, and tells at which field it failed; of one that does not tell, the whole.
    pub fn with_field<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> (Result<Self, D::Error>, String) {
        match serde_path_to_error::deserialize(deserializer) {
            Ok(document) => (Ok(document), String::new()),
            Err(error) => {
                let path = error.path().to_string();
                let field = if path == "." || path == "?" {
                    String::new()
                } else {
                    path
                };
                (Err(error.into_inner()), field)
            }
        }
    }
}

/// A deserializer's message without the place that it ends with, which is told in front.
pub fn without_place(message: &str) -> String {
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_job_is_refused_by_line_and_field() {
        let error = JobDocument::from_json("{\n \"name\": \"a\",\n \"purpose\": 7}").unwrap_err();
        assert_eq!((error.field.as_str(), error.at), ("purpose", Some((3, 13))));
        let text = error.to_string();
        assert!(
            text.starts_with("line 3, column 13: purpose: invalid type"),
            "{text}"
        );
        assert!(!text.contains(" at line "), "{text}");
        for text in ["", "{}", "[]", "{\"name\": \"a\"} x", "\u{0}"] {
            assert!(JobDocument::from_json(text).is_err(), "{text}");
        }
    }
}
