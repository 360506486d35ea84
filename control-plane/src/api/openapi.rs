//! The `OpenAPI` document of the API, made of the types that the server reads and writes: <https://spec.openapis.org/oas/v3.1.1>.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::problem::{self, Problem, ProblemKind};
use super::{AUTHOR, PREFIX};

mod operations;

/// The media type of documents as they were written.
pub(super) const YAML: &str = "application/yaml";

/// One method of one path.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Vec<(u16, Value)>,
    problems: &'static [ProblemKind],
}

impl Operation {
    fn new(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        let (parameters, answers) = (Vec::new(), Vec::new());
        Self { method, path, id, summary, parameters, body: None, answers, problems: &[] }
    }

    fn parameters(mut self, parameters: impl IntoIterator<Item = Value>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    fn body(mut self, content: Value) -> Self {
        self.body = Some(content);
        self
    }

    fn answer(mut self, status: u16, answer: Value) -> Self {
        self.answers.push((status, answer));
        self
    }

    fn problems(mut self, problems: &'static [ProblemKind]) -> Self {
        self.problems = problems;
        self
    }

    fn into_value(self) -> Value {
        let Self { method, path: _, id, summary, mut parameters, body, answers, problems } = self;
        parameters.push(json!({ "$ref": "#/components/parameters/RequestId" }));
        if method != "get" {
            parameters.push(json!({ "$ref": "#/components/parameters/Author" }));
        }
        let mut responses: Map<_, _> =
            answers.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect();
        let always = [ProblemKind::InvalidRequest, ProblemKind::Unauthorized, ProblemKind::Internal];
        for problem in problems.iter().copied().chain(always) {
            let answer = responses.entry(problem.status().to_string());
            answer.or_insert_with(|| json!({ "$ref": format!("#/components/responses/{problem:?}") }));
        }
        // This is answered before there is a request, without a body.
        responses.insert("414".into(), json!({ "description": "The path and the query are too long" }));
        let mut operation = json!({ "operationId": id, "summary": summary, "parameters": parameters, "responses": responses });
        if let (Some(content), Some(operation)) = (body, operation.as_object_mut()) {
            operation.insert("requestBody".into(), json!({ "required": true, "content": content }));
        }
        operation
    }
}

/// The whole document.
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = Map::new();
    for operation in operations::all(&mut generator) {
        let (path, method) = (format!("{PREFIX}{}", operation.path), operation.method);
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(methods) = entry.as_object_mut() {
            methods.insert(method.into(), operation.into_value());
        }
    }
    let problem = schema::<Problem>(&mut generator);
    let responses: Map<_, _> = ProblemKind::ALL
        .iter()
        .map(|kind| {
            let answer = json!({
                "description": kind.title(),
                "content": { problem::MEDIA_TYPE: { "schema": problem } },
            });
            (format!("{kind:?}"), answer)
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Spillway",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "The admin API: documents, their history, and the proxies that have them",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{}, { "token": [] }, { "certificate": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": responses,
            "parameters": {
                "RequestId": parameter("header", "x-request-id", "An id for this request, of the client's choice",
                    json!({ "type": "string" })),
                "Author": parameter("header", AUTHOR, "Who makes the change, where no token or certificate says so",
                    json!({ "type": "string" })),
            },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
            },
        },
    })
}

/// A reference to the schema of a type, which is put among the components.
fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// An optional parameter.
#[expect(clippy::needless_pass_by_value, reason = "callers make it for this")]
fn parameter(place: &str, name: &str, description: &str, schema: Value) -> Value {
    json!({ "in": place, "name": name, "description": description, "required": place == "path", "schema": schema })
}

/// An answer of JSON.
fn answer<T: JsonSchema>(generator: &mut SchemaGenerator, description: &str) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema::<T>(generator) } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(entries) => {
                    found.extend(entries.get("$ref").and_then(Value::as_str).map(ToOwned::to_owned));
                    entries.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}
