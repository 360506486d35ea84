//! What can be asked for.

use schemars::SchemaGenerator;
use serde_json::{Value, json};

use super::{Operation, YAML, answer, parameter, schema};
use crate::api::problem::ProblemKind::{
    self, Conflict, InvalidDocuments, NotAcceptable, NotFound, ReadOnly, TooLarge, TooMany,
    UnsupportedMediaType,
};
use crate::api::{
    ApplyRequest, DiffRequest, Documents, Event, FleetDifference, FleetProxy, MAX_REVISION, RevisionList,
    RollbackRequest, document_schema, kind_schema,
};
use crate::fleet::FleetView;
use crate::load::FleetLoad;
use crate::store::{Applied, Revision};

/// What may go wrong with a change.
const CHANGE: &[ProblemKind] =
    &[InvalidDocuments, Conflict, ReadOnly, NotFound, TooLarge, UnsupportedMediaType];

/// Every operation.
pub(super) fn all(generator: &mut SchemaGenerator) -> Vec<Operation> {
    let mut all = documents(generator);
    all.extend(changes(generator));
    all.extend(history(generator));
    all.extend(proxies(generator));
    all.push(
        Operation::new("get", "/openapi.json", "openapi", "This document")
            .answer(200, json!({ "description": "OpenAPI 3.1", "content": { "application/json": {} } })),
    );
    all
}

fn documents(generator: &mut SchemaGenerator) -> Vec<Operation> {
    let kind = kind_schema(generator).to_value();
    let document = document_schema(generator).to_value();
    let name = json!({ "type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63 });
    let which = || {
        [
            parameter("path", "kind", "The kind of document", kind.clone()),
            parameter("path", "name", "Its name", name.clone()),
        ]
    };
    let content =
        json!({ "application/json": { "schema": document }, YAML: { "schema": { "type": "string" } } });
    let unchanged = json!({ "description": "The client has it already" });
    vec![
        Operation::new("get", "/documents", "listDocuments", "The documents in force")
            .parameters([
                parameter("query", "kind", "Only of this kind", kind.clone()),
                parameter("query", "name", "Only with this name", json!({ "type": "string" })),
                known("The list that the client has"),
            ])
            .answer(200, {
                let mut answer =
                    answer::<Documents>(generator, "The documents, in the order of kinds and names");
                if let Some(content) = answer.pointer_mut("/content").and_then(Value::as_object_mut) {
                    content.insert(YAML.into(), json!({ "schema": { "type": "string" } }));
                }
                etag(answer)
            })
            .answer(304, unchanged.clone())
            .problems(&[NotAcceptable]),
        Operation::new("get", "/documents/{kind}/{name}", "getDocument", "One document")
            .parameters(which())
            .parameters([known("The version that the client has")])
            .answer(
                200,
                etag(json!({ "description": "The document; as YAML with its comments", "content": content })),
            )
            .answer(304, unchanged)
            .problems(&[NotFound, NotAcceptable]),
        Operation::new("put", "/documents/{kind}/{name}", "putDocument", "Put one document in place")
            .parameters(which())
            .parameters(manner())
            .parameters([
                tags("If-Match", "The version that is to be replaced"),
                tags("If-None-Match", "`*`: only if there is none yet"),
            ])
            .body(content.clone())
            .answer(200, etag(answer::<Applied>(generator, "What changed")))
            .answer(201, etag(answer::<Applied>(generator, "The document is new")))
            .problems(CHANGE),
        Operation::new("delete", "/documents/{kind}/{name}", "deleteDocument", "Remove one document")
            .parameters(which())
            .parameters(manner())
            .parameters([tags("If-Match", "The version that is to be removed")])
            .answer(200, answer::<Applied>(generator, "What changed"))
            .problems(CHANGE),
    ]
}

fn changes(generator: &mut SchemaGenerator) -> Vec<Operation> {
    vec![
        Operation::new("post", "/apply", "apply", "Change several documents: all of it happens or nothing")
            .parameters(manner())
            .parameters([tags(
                "If-Match",
                "The revision on which the change is based: none of its documents may have changed since",
            )])
            .body(json!({
                "application/json": { "schema": schema::<ApplyRequest>(generator) },
                YAML: { "schema": { "type": "string" } },
            }))
            .answer(200, etag(answer::<Applied>(generator, "What changed")))
            .problems(CHANGE),
        Operation::new("post", "/diff", "diff", "What would change in the resources of each fleet")
            .body(json!({ "application/json": { "schema": schema::<DiffRequest>(generator) } }))
            .answer(200, answer::<Vec<FleetDifference>>(generator, "The fleets in which anything differs"))
            .problems(&[InvalidDocuments, NotFound, TooLarge, UnsupportedMediaType]),
        Operation::new(
            "post",
            "/rollback",
            "rollback",
            "Make the documents what they were in an earlier revision",
        )
        .parameters(manner())
        .parameters([tags("If-Match", "The newest revision")])
        .body(json!({ "application/json": { "schema": schema::<RollbackRequest>(generator) } }))
        .answer(200, etag(answer::<Applied>(generator, "What changed, in a new revision")))
        .problems(CHANGE),
    ]
}

fn history(generator: &mut SchemaGenerator) -> Vec<Operation> {
    let number = json!({ "type": "integer", "minimum": 1, "maximum": MAX_REVISION });
    vec![
        Operation::new("get", "/revisions", "listRevisions", "The history, the newest revision first")
            .parameters([
                parameter(
                    "query",
                    "limit",
                    "How many; 100 where not given",
                    json!({ "type": "integer", "minimum": 1, "maximum": 1000 }),
                ),
                parameter("query", "before", "Only revisions before this one", number.clone()),
            ])
            .answer(200, answer::<RevisionList>(generator, "Revisions")),
        Operation::new(
            "get",
            "/revisions/{number}",
            "getRevision",
            "One revision, with what it changed field by field",
        )
        .parameters([parameter("path", "number", "Its number", number)])
        .answer(200, answer::<Revision>(generator, "The revision"))
        .problems(&[NotFound]),
    ]
}

fn proxies(generator: &mut SchemaGenerator) -> Vec<Operation> {
    let fleet = || [parameter("query", "fleet", "Only of this fleet", json!({ "type": "string" }))];
    let events = json!({
        "description": "Server-sent events without end; `data` of each is an `Event`",
        "content": { "text/event-stream": { "schema": { "type": "string" }, "x-event": schema::<Event>(generator) } },
    });
    vec![
        Operation::new(
            "get",
            "/fleets",
            "listFleets",
            "Fleets, their proxies, and what each was sent, has accepted and refuses",
        )
        .parameters(fleet())
        .answer(200, answer::<Vec<FleetView>>(generator, "Fleets by name")),
        Operation::new("get", "/proxies", "listProxies", "Proxies with an open stream")
            .parameters(fleet())
            .answer(200, answer::<Vec<FleetProxy>>(generator, "Proxies by fleet and id")),
        Operation::new("get", "/loads", "listLoads", "What proxies report about their upstreams at present")
            .answer(200, answer::<Vec<FleetLoad>>(generator, "Fleets by name, with their clusters")),
        Operation::new("get", "/events", "events", "What changes, as it changes")
            .parameters([parameter(
                "header",
                "Last-Event-ID",
                "The last revision that the client was told",
                json!({ "type": "string" }),
            )])
            .answer(200, events)
            .problems(&[TooMany]),
    ]
}

/// How to make a change.
fn manner() -> [Value; 2] {
    [
        parameter("query", "dryRun", "Only check, and say what would change", json!({ "type": "boolean" })),
        parameter(
            "query",
            "message",
            "Why, for the history",
            json!({ "type": "string", "maxLength": 10_000 }),
        ),
    ]
}

fn tags(name: &str, description: &str) -> Value {
    parameter("header", name, description, json!({ "type": "string", "pattern": format!("^({TAGS})$") }))
}

/// What a reader has. A list without elements says that there is nothing.
fn known(description: &str) -> Value {
    let schema = json!({ "type": "string", "pattern": format!("^({TAGS})?$") });
    parameter("header", "If-None-Match", description, schema)
}

/// `*`, or a list of entity tags.
const TAGS: &str = r#"\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*"#;

/// An answer that has an entity tag.
fn etag(mut answer: Value) -> Value {
    if let Some(answer) = answer.as_object_mut() {
        let header = json!({ "description": "The revision, quoted", "schema": { "type": "string" } });
        answer.insert("headers".into(), json!({ "ETag": header }));
    }
    answer
}
