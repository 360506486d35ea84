//! From the text with which a proxy refuses something to the field that somebody wrote.
//!
//! Envoy quotes the value that it can't use, or names its own field, and often the resource. The value is looked for in the documents that
//! the resource was made of: the longest one that the text contains is taken to be the culprit. Where nothing is found, the document is named
//! if there is only one that it can be.

use serde_json::Value;

use crate::fleet::Cause;
use crate::resource::Kind;
use crate::snapshot::origin::Part;
use crate::snapshot::{Name, Snapshot, Version};

/// Words of Envoy's errors, in lower case, and the fields that they are about, the most telling first.
const HINTS: &[(Kind, &str, &str)] = &[
    (Kind::Listener, "cannot assign requested address", "address"),
    (Kind::Listener, "address already in use", "port"),
    (Kind::Listener, "cannot bind", "port"),
    (Kind::Listener, "duplicate address", "port"),
    (Kind::Listener, "certificate", "tls"),
    (Kind::Listener, "private key", "tls"),
    (Kind::Listener, "transportsocket", "tls"),
    (Kind::Listener, "access log", "accessLog"),
    (Kind::Cluster, "certificate", "spec.tls"),
    (Kind::Cluster, "transportsocket", "spec.tls"),
    (Kind::Cluster, "outlierdetection", "spec.outlierDetection"),
    (Kind::Cluster, "healthcheck", "spec.healthCheck"),
    (Kind::Cluster, "circuitbreakers", "spec.connectionPool"),
    (Kind::Cluster, "connecttimeout", "spec.connectionPool"),
    (Kind::Cluster, "lbpolicy", "spec.loadBalancing"),
    (Kind::Cluster, "slowstart", "spec.loadBalancing"),
    (Kind::Cluster, "ring_hash", "spec.loadBalancing"),
    (Kind::Cluster, "maglev", "spec.loadBalancing"),
];

/// Shorter values occur in any text by accident.
const SHORTEST: usize = 2;

/// Where a refusal of `resources` comes from; `error` is what the proxy said, whole.
pub fn trace(snapshot: &Snapshot, kind: Kind, resources: &[(Name, Version)], error: &str) -> Option<Cause> {
    let named: Vec<&Name> =
        resources.iter().map(|(name, _)| name).filter(|name| contains(error, name)).collect();
    let suspects = if named.is_empty() { resources.iter().map(|(name, _)| name).collect() } else { named };
    let only = suspects.len() == 1;
    let mut best: Option<(usize, Cause)> = None;
    let mut fallback = None;
    for resource in suspects {
        let parts = snapshot.parts(kind, resource);
        if let Some(first) = parts.first().filter(|_| only) {
            fallback = Some(hinted(snapshot, kind, first, error));
        }
        for part in &parts {
            let Some(document) = snapshot.document(part.kind, &part.name) else { continue };
            search(&document, part, resource, error, &mut best);
        }
    }
    best.map(|(_, cause)| cause).or(fallback)
}

/// The part that is named where no value is found, narrowed to a field that the text is about and that is there.
fn hinted(snapshot: &Snapshot, kind: Kind, part: &Part, error: &str) -> Cause {
    let text = error.to_lowercase();
    let document = snapshot.document(part.kind, &part.name).unwrap_or_default();
    let hints = HINTS.iter().filter(|(of, word, _)| *of == kind && text.contains(word));
    let mut fields = hints.map(|(_, _, field)| join(&part.field, field));
    let field = fields.find(|field| is_written(&document, field)).unwrap_or_else(|| part.field.clone());
    Cause { document: title(part), field }
}

fn title(part: &Part) -> String {
    format!("{} {}", part.kind, part.name)
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn is_written(document: &Value, field: &str) -> bool {
    let mut place = Some(document);
    for step in field.split(['.', '[']) {
        place = place.and_then(|place| match step.strip_suffix(']').map(str::parse::<usize>) {
            Some(Ok(index)) => place.get(index),
            _ => place.get(step),
        });
    }
    place.is_some()
}

/// Looks in a document for the longest value that the text contains.
fn search(document: &Value, part: &Part, resource: &str, error: &str, best: &mut Option<(usize, Cause)>) {
    visit(document, "", &mut |path, value| {
        // The names of what was pushed stand in the text whatever is wrong with it.
        let says_nothing = !path.starts_with("spec") || resource.contains(value);
        let longer = best.as_ref().is_none_or(|(length, _)| value.len() > *length);
        if says_nothing || !longer || !path.starts_with(&part.field) || value.len() < SHORTEST {
            return;
        }
        if contains(error, value) {
            *best = Some((value.len(), Cause { document: title(part), field: path.to_owned() }));
        }
    });
}

/// Shows every text of a document with its path.
fn visit(value: &Value, path: &str, see: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => see(path, text),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                visit(item, &format!("{path}[{i}]"), see);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                visit(field, &join(path, name), see);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether the text contains the value as a word of its own.
fn contains(text: &str, value: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(value).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + value.len()..).and_then(|after| after.chars().next());
        let starts = value.chars().next().is_some_and(is_part) && before.is_some_and(is_part);
        let ends = value.chars().next_back().is_some_and(is_part) && after.is_some_and(is_part);
        !starts && !ends
    })
}

#[cfg(test)]
mod tests;
