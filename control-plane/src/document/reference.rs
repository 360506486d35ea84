//! The document reference as Markdown, made from the same types as the schema, so that it says what is read and nothing else.

use serde_json::{Map, Value};

use super::kind::Kind;
use super::schema::{Parts, is_not_yet, parts, without_null};
use super::suggest;

/// What a reader has to know before the fields.
const INTRODUCTION: &str = include_str!("reference/introduction.md");

/// The whole reference.
pub fn markdown() -> String {
    let Parts { specs, definitions } = parts();
    let mut reference = Reference { definitions, text: INTRODUCTION.to_owned() };
    for (kind, spec) in specs {
        let name = target(&spec).unwrap_or_default().to_owned();
        reference.section(2, kind.name(), &name);
        // Types that only this kind uses come with it, in the order in which a reader meets them.
        let mut types = Vec::new();
        reference.collect(&name, &mut types);
        types.retain(|name| !reference.is_shared(name));
        for name in types.iter().skip(1) {
            reference.section(3, name, name);
        }
    }
    reference.text.push_str("\n## Shared types\n");
    let shared: Vec<_> = reference
        .definitions
        .keys()
        .filter(|name| reference.is_shared(name) && reference.has_section(name))
        .cloned()
        .collect();
    for name in shared {
        reference.section(3, &name, &name);
    }
    reference.text
}

struct Reference {
    definitions: Map<String, Value>,
    text: String,
}

impl Reference {
    fn section(&mut self, level: usize, title: &str, name: &str) {
        let Some(definition) = self.definitions.get(name).cloned() else { return };
        let line = |text: &mut String, line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        line(&mut self.text, &format!("\n{} {title}\n", "#".repeat(level)));
        if let Some(description) = description(&definition) {
            line(&mut self.text, &description);
        }
        if let Some(values) = constants(&definition) {
            line(&mut self.text, "\n| Value | Meaning |\n|---|---|");
            for (value, meaning) in values {
                line(&mut self.text, &format!("| `{value}` | {meaning} |"));
            }
            return;
        }
        let empty = Map::new();
        let fields = definition.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required = definition.get("required").and_then(Value::as_array);
        let is_required = |field: &str| required.is_some_and(|names| names.iter().any(|name| name == field));
        if fields.values().any(|field| !is_not_yet(field)) {
            line(&mut self.text, "\n| Field | Type | Default | Meaning |\n|---|---|---|---|");
        }
        let mut built: Vec<_> = fields.iter().filter(|(_, field)| !is_not_yet(field)).collect();
        // What has to be written comes first, in the order of the type.
        let position = |field: &str| required.and_then(|names| names.iter().position(|name| name == field));
        built.sort_by_key(|(name, _)| position(name).unwrap_or(usize::MAX));
        for (name, field) in built {
            let default = match field.get("default") {
                _ if is_required(name) => "required".to_owned(),
                Some(Value::Null) | None => String::new(),
                Some(Value::Array(items)) if items.is_empty() => "none".to_owned(),
                Some(Value::String(default)) => format!("`{default}`"),
                Some(default) => format!("`{default}`"),
            };
            let kind = self.type_of(field);
            let meaning = description(field).unwrap_or_default();
            line(&mut self.text, &format!("| `{name}` | {kind} | {default} | {meaning} |"));
        }
        let later: Vec<_> =
            fields.iter().filter(|(_, field)| is_not_yet(field)).map(|(name, _)| name.as_str()).collect();
        if !later.is_empty() {
            line(
                &mut self.text,
                &format!("\nNot available yet, and refused as such: {}.", suggest::list(&later)),
            );
        }
    }

    /// A type in words, with a link where it has a section of its own.
    fn type_of(&self, schema: &Value) -> String {
        let mut schema = schema.clone();
        if let Value::Object(object) = &mut schema {
            without_null(object);
        }
        if let Some(name) = target(&schema) {
            let definition = self.definitions.get(name);
            return match definition {
                Some(definition) if definition.get("anyOf").is_some() => self.type_of(definition),
                Some(definition) if !self.has_section(name) => self.in_words(name, definition),
                _ => format!("[{name}](#{})", anchor(name)),
            };
        }
        let alternatives = ["anyOf", "oneOf"].into_iter().find_map(|name| schema.get(name)?.as_array());
        if let Some(alternatives) = alternatives {
            return alternatives.iter().map(|schema| self.type_of(schema)).collect::<Vec<_>>().join(" or ");
        }
        if let Some(constant) = schema.get("const") {
            return constant.as_str().map_or_else(|| format!("`{constant}`"), |text| format!("`{text}`"));
        }
        if let Some(Value::Array(values)) = schema.get("enum")
            && values.len() < 4
        {
            let values: Vec<_> =
                values.iter().filter_map(Value::as_str).map(|text| format!("`{text}`")).collect();
            return values.join(" or ");
        }
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
        match schema.get("type").and_then(Value::as_str) {
            Some("array") => {
                let item = schema.get("items").map_or_else(String::new, |items| self.type_of(items));
                if item.contains(" or ") { format!("list of: {item}") } else { format!("list of {item}") }
            }
            Some("integer") => match (bound("minimum"), bound("maximum")) {
                (Some(from), Some(to)) => format!("whole number, {from} to {to}"),
                (Some(from), None) => format!("whole number, from {from}"),
                _ => "whole number".into(),
            },
            Some("boolean") => "true or false".into(),
            Some("object") => self.mapping(&schema),
            Some(other) => other.to_owned(),
            None => String::new(),
        }
    }

    /// A type without a section of its own.
    fn in_words(&self, name: &str, definition: &Value) -> String {
        let has_alternatives = ["oneOf", "const"].iter().any(|key| definition.get(key).is_some());
        match description(definition) {
            Some(text) if !has_alternatives => {
                let text = text.trim_end_matches('.');
                // It stands within a sentence.
                text.strip_prefix("A ").map_or_else(|| text.to_owned(), |rest| format!("a {rest}"))
            }
            None if !has_alternatives => name.to_owned(),
            _ => self.type_of(definition),
        }
    }

    fn mapping(&self, schema: &Value) -> String {
        let fields = schema.get("properties").and_then(Value::as_object);
        let fields =
            fields.into_iter().flatten().map(|(name, field)| format!("{name}: {}", self.type_of(field)));
        match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("mapping to {}", self.type_of(values)),
            _ => format!("`{{{}}}`", fields.collect::<Vec<_>>().join(", ")),
        }
    }

    /// Whether a type is more than a few words.
    fn has_section(&self, name: &str) -> bool {
        self.definitions.get(name).is_some_and(|definition| {
            definition.get("properties").is_some() || constants(definition).is_some()
        })
    }

    /// A type and those within it, each once, outer ones first.
    fn collect(&self, name: &str, types: &mut Vec<String>) {
        if types.iter().any(|known| known == name) {
            return;
        }
        let Some(definition) = self.definitions.get(name) else { return };
        if self.has_section(name) {
            types.push(name.to_owned());
        }
        let mut targets = Vec::new();
        targets_of(definition, &mut targets);
        for target in targets {
            self.collect(&target, types);
        }
    }

    /// Whether several kinds use a type, or it surrounds them all.
    fn is_shared(&self, name: &str) -> bool {
        let users = Kind::ALL.iter().filter(|kind| {
            let mut types = Vec::new();
            self.collect(kind.name(), &mut types);
            types.iter().any(|used| used == name)
        });
        users.count() != 1
    }
}

fn targets_of(schema: &Value, targets: &mut Vec<String>) {
    targets.extend(target(schema).map(str::to_owned));
    match schema {
        Value::Object(object) => object.values().for_each(|value| targets_of(value, targets)),
        Value::Array(items) => items.iter().for_each(|value| targets_of(value, targets)),
        _ => {}
    }
}

fn target(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// The values of an enumeration and what they mean.
fn constants(definition: &Value) -> Option<Vec<(String, String)>> {
    let values = definition.get("oneOf")?.as_array()?;
    let of = |value: &Value| {
        Some((value.get("const")?.as_str()?.to_owned(), description(value).unwrap_or_default()))
    };
    values.iter().map(of).collect()
}

/// A description in one line, fit for a table.
fn description(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|"))
}

/// As Markdown renderers name headings.
fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_reference_in_the_repository_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == markdown(),
            "docs/reference.md is out of date: `spillway schema --markdown > docs/reference.md`"
        );
    }

    #[test]
    fn every_link_leads_to_a_heading() {
        let text = markdown();
        let headings: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_start_matches(['#', ' '])))
            .collect();
        let links = text.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
        let mut count = 0;
        for link in links {
            assert!(headings.iter().any(|heading| heading == link), "{link}");
            count += 1;
        }
        assert!(count > 10);
    }
}
