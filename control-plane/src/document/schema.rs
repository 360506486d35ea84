//! The documents as a JSON Schema, made from the types that read them.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::API_VERSION;
use super::kind::{Backend, Certificate, Gateway, Kind, Route, TrafficPolicy};

/// The name under which the generator keeps the type of fields that are not available yet.
const NOT_YET: &str = "NotYet";

/// A JSON Schema (draft 2020-12) that every valid document fits. Fields that are not available yet are not part of it. What one value
/// alone can't show, such as references that lead nowhere, a schema can't check: `spillway check` does.
pub fn json_schema() -> Value {
    let Parts { specs, mut definitions } = parts();
    definitions.remove(NOT_YET);
    let documents: Vec<_> = specs
        .into_iter()
        .map(|(kind, spec)| {
            json!({
                "title": kind.name(),
                "type": "object",
                "properties": {
                    "apiVersion": { "const": API_VERSION },
                    "kind": { "const": kind.name() },
                    "metadata": { "$ref": "#/$defs/Metadata" },
                    "spec": spec,
                },
                "required": ["apiVersion", "kind", "metadata", "spec"],
                "additionalProperties": false,
            })
        })
        .collect();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Spillway document",
        "oneOf": documents,
        "$defs": definitions,
    });
    tidy(&mut schema);
    schema
}

/// The `spec` of each kind, and the types they are made of.
pub(super) struct Parts {
    pub(super) specs: [(Kind, Value); 5],
    pub(super) definitions: Map<String, Value>,
}

pub(super) fn parts() -> Parts {
    fn spec<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
        generator.subschema_for::<T>().to_value()
    }
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let _ = generator.subschema_for::<super::Metadata>();
    let specs = Kind::ALL.map(|kind| {
        let spec = match kind {
            Kind::Gateway => spec::<Gateway>(&mut generator),
            Kind::Route => spec::<Route>(&mut generator),
            Kind::Backend => spec::<Backend>(&mut generator),
            Kind::TrafficPolicy => spec::<TrafficPolicy>(&mut generator),
            Kind::Certificate => spec::<Certificate>(&mut generator),
        };
        (kind, spec)
    });
    Parts { specs, definitions: generator.take_definitions(true) }
}

/// Whether a field has the type of those that are not available yet.
pub(super) fn is_not_yet(field: &Value) -> bool {
    let refers = |schema: &Value| {
        schema.get("$ref").and_then(Value::as_str).is_some_and(|target| target.ends_with("/NotYet"))
    };
    let alternatives = field.get("anyOf").and_then(Value::as_array);
    refers(field) || alternatives.is_some_and(|alternatives| alternatives.iter().any(refers))
}

/// Removes what documents can't have: fields that are not available yet, and `null`, which a derived schema allows for what is optional.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                properties.retain(|_, field| !is_not_yet(field));
            }
            without_null(object);
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

pub(super) fn without_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(alternatives)) = object.get_mut("anyOf") {
        alternatives.retain(|alternative| *alternative != json!({ "type": "null" }));
        if let [Value::Object(only)] = alternatives.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            object.extend(only);
        }
    }
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_every_field_that_is_built_and_no_other() {
        let schema = json_schema();
        let fields = |name: &str| -> Vec<_> {
            schema["$defs"][name]["properties"].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(fields("Gateway"), ["fleet", "listeners", "push", "tracing"]);
        assert_eq!(fields("BackendRef"), ["name", "weight"]);
        assert_eq!(fields("Metadata"), ["name"]);
        assert!(!schema.to_string().contains(NOT_YET));
        assert!(!schema.to_string().contains("null"), "{schema:#}");
    }

    #[test]
    fn every_object_is_closed_and_every_reference_leads_somewhere() {
        fn walk(value: &Value, definitions: &Value) {
            if let Value::Object(object) = value {
                if object.contains_key("properties") {
                    assert_eq!(object.get("additionalProperties"), Some(&Value::Bool(false)), "{value:#}");
                }
                if let Some(Value::String(target)) = object.get("$ref") {
                    let name = target.strip_prefix("#/$defs/").unwrap();
                    assert!(definitions.get(name).is_some(), "{target}");
                }
            }
            for value in value.as_object().into_iter().flat_map(Map::values) {
                walk(value, definitions);
            }
            for value in value.as_array().into_iter().flatten() {
                walk(value, definitions);
            }
        }
        let schema = json_schema();
        walk(&schema, &schema["$defs"]);
    }
}
