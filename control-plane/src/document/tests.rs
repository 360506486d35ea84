use crate::document::{Diagnostic, read};
use crate::model::Model;

mod bad_input;
mod gateway_api;
mod language;
mod properties;

/// Everything that is wrong with one file called `f.yaml`.
fn errors(bytes: &[u8]) -> Vec<Diagnostic> {
    Model::build([read("f.yaml", bytes)]).err().unwrap_or_default()
}

/// The same, as `line:column field: message`.
fn shown(text: &str) -> Vec<String> {
    let show = |error: Diagnostic| {
        let place = error.place.map_or("-".into(), |place| format!("{}:{}", place.line, place.column));
        format!("{place} {}: {}", error.field, error.message)
    };
    errors(text.as_bytes()).into_iter().map(show).collect()
}
