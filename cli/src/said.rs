//! What a command that changed something says: a text for people, or one JSON object for programs.

use std::fmt::Display;

use serde_json::Value;

/// Prints the object with `--json`, the text otherwise.
pub(crate) fn said(json: bool, object: &Value, text: impl Display) {
    if json {
        println!("{object}");
    } else {
        println!("{text}");
    }
}
