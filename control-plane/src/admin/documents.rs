//! Documents, one by one and as a list.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::Context;
use super::body::{self, Author, Form, Path, Query};
use super::precondition;
use super::reply::{self, YAML, answer, blocking, tagged};
use crate::api::problem::{DocumentError, Problem, ProblemKind};
use crate::api::{Documents, Listed, PREFIX, yaml};
use crate::document::kind::Kind;
use crate::store::{Accepted, Applied, Change, Raw, Stored};
use crate::telemetry::Parent;

/// Which documents.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    kind: Option<String>,
    name: Option<String>,
}

/// How to change one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Manner {
    #[serde(default)]
    message: String,
    #[serde(default)]
    dry_run: bool,
}

/// The documents in force.
pub(super) async fn list(
    State(context): State<Context>,
    Query(Filter { kind, name }): Query<Filter>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let kind = kind.map(|kind| body::kind(&kind)).transpose().map_err(|problem| Problem {
        kind: ProblemKind::InvalidRequest,
        status: ProblemKind::InvalidRequest.status(),
        title: ProblemKind::InvalidRequest.title().to_owned(),
        ..problem
    })?;
    let form = body::accepted(&headers)?;
    let accepted = context.admin.store.latest();
    let revision = accepted.revision;
    if precondition::is_known(&headers, revision)? {
        return Ok(tagged(StatusCode::NOT_MODIFIED.into_response(), revision));
    }
    // Ten thousand documents take a while to turn into JSON.
    let response = blocking(move || {
        let chosen = accepted.documents.iter().filter(|((of_kind, of_name), _)| {
            kind.is_none_or(|kind| kind == *of_kind) && name.as_ref().is_none_or(|name| name == of_name)
        });
        match form {
            Form::Yaml => {
                let texts: Vec<&str> = chosen.map(|(_, stored)| stored.text.trim()).collect();
                let text = if texts.is_empty() { String::new() } else { texts.join("\n---\n") + "\n" };
                Ok(answer(StatusCode::OK, YAML, text))
            }
            Form::Json => {
                let documents = chosen.map(|((kind, name), stored)| Listed {
                    kind: *kind,
                    name: name.clone(),
                    revision: stored.revision,
                    document: stored.value(),
                });
                reply::json(&Documents { revision, documents: documents.collect() })
            }
        }
    });
    Ok(tagged(response.await?, revision))
}

/// One document: as JSON, or as it was written.
pub(super) async fn read(
    State(context): State<Context>,
    Path((kind, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let kind = body::kind(&kind)?;
    let form = body::accepted(&headers)?;
    let accepted = context.admin.store.latest();
    let stored = find(&accepted, kind, &name).ok_or_else(|| missing(kind, &name))?;
    if precondition::is_known(&headers, stored.revision)? {
        return Ok(tagged(StatusCode::NOT_MODIFIED.into_response(), stored.revision));
    }
    let response = match form {
        Form::Yaml => answer(StatusCode::OK, YAML, stored.text.to_string()),
        Form::Json => reply::json(&stored.value())?,
    };
    Ok(tagged(response, stored.revision))
}

/// Puts one document in place.
pub(super) async fn write(
    State(context): State<Context>,
    Path((kind, name)): Path<(String, String)>,
    Query(Manner { message, dry_run }): Query<Manner>,
    Author(author): Author,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (kind, message) = (body::kind(&kind)?, body::message(message)?);
    let form = body::form(&headers)?;
    let _permit = context.changes.acquire().await.map_err(reply::internal)?;
    let bytes = body::bytes(body).await?;
    // In a directory for people it should look as if a person had written it.
    let bytes = match form {
        Form::Json => yaml::text(&body::parse(&bytes)?).into_bytes(),
        Form::Yaml => bytes.to_vec(),
    };
    check_identity(kind, &name, &bytes)?;
    let existed = find(&context.admin.store.latest(), kind, &name).map(|stored| stored.revision);
    let expected = precondition::expected(&headers, existed)?;
    let raw = Raw { name: format!("{kind} {name}").into(), bytes };
    let cause = Parent::of(&headers);
    let change = Change { put: vec![raw], author, message, cause, expected, dry_run, ..Change::default() };
    let applied = apply(&context, change).await?;
    let created = existed.is_none() && !dry_run;
    let mut response = reply::json(&applied)?;
    if created {
        *response.status_mut() = StatusCode::CREATED;
        reply::set(&mut response, LOCATION, &format!("{PREFIX}/documents/{kind}/{name}"));
    }
    // Its entity tag is the revision that changed it, which is an earlier one if there was nothing to change.
    let current = find(&context.admin.store.latest(), kind, &name).map(|stored| stored.revision);
    Ok(if let Some(revision) = current { tagged(response, revision) } else { response })
}

/// Removes one document.
pub(super) async fn delete(
    State(context): State<Context>,
    Path((kind, name)): Path<(String, String)>,
    Query(Manner { message, dry_run }): Query<Manner>,
    Author(author): Author,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (kind, message) = (body::kind(&kind)?, body::message(message)?);
    let current = find(&context.admin.store.latest(), kind, &name).map(|stored| stored.revision);
    if current.is_none() {
        return Err(missing(kind, &name));
    }
    let expected = precondition::expected(&headers, current)?;
    let delete = vec![(kind, name)];
    let cause = Parent::of(&headers);
    let change = Change { delete, author, message, cause, expected, dry_run, ..Change::default() };
    reply::json(&apply(&context, change).await?)
}

/// Makes a change.
pub(super) async fn apply(context: &Context, change: Change) -> Result<Applied, Problem> {
    let store = Arc::clone(&context.admin.store);
    blocking(move || store.apply(change).map_err(Problem::from)).await
}

fn find(accepted: &Accepted, kind: Kind, name: &str) -> Option<Stored> {
    accepted.documents.get(&(kind, name.to_owned())).cloned()
}

fn missing(kind: Kind, name: &str) -> Problem {
    Problem::new(ProblemKind::NotFound).detail(format!("there is no {kind} {name}"))
}

/// A document that is put under a name has to have that name.
fn check_identity(kind: Kind, name: &str, bytes: &[u8]) -> Result<(), Problem> {
    let contents = crate::document::read(format!("{kind} {name}"), bytes);
    let found: Vec<_> = contents.documents.iter().map(|document| (document.kind, &document.name)).collect();
    let wrong = match found.as_slice() {
        // What it has instead is an error that checking reports with its place.
        [] if !contents.diagnostics.is_empty() => return Ok(()),
        [(of_kind, of_name)] if *of_kind == kind && **of_name == name => return Ok(()),
        [(of_kind, of_name)] => format!("this is {of_kind} {of_name}"),
        more => format!("there are {} documents", more.len()),
    };
    let message = format!("expected {kind} {name}, as the path says; {wrong}");
    let mut problem = Problem::new(ProblemKind::InvalidDocuments).detail(message.clone());
    problem.errors = vec![DocumentError {
        file: format!("{kind} {name}"),
        line: None,
        column: None,
        document: None,
        field: None,
        rendered: format!("error: {message}\n"),
        message,
        suggestion: None,
    }];
    Err(problem)
}
