//! Changes of several documents at once, and the way back.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::Context;
use super::body::{self, Author, Form, Query};
use super::documents;
use super::precondition;
use super::reply::{self, blocking, tagged};
use crate::api::problem::{Problem, ProblemKind};
use crate::api::{ApplyRequest, RollbackRequest, Text};
use crate::store::{Change, Raw};
use crate::telemetry::Parent;

/// Linux has no longer paths.
const MAX_NAME: usize = 4096;

/// How to apply.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Manner {
    #[serde(default)]
    dry_run: bool,
    /// Of a body of YAML, which has no place for it.
    message: Option<String>,
}

/// Puts documents in place and removes others: all of it or nothing.
pub(super) async fn apply(
    State(context): State<Context>,
    Query(Manner { dry_run, message }): Query<Manner>,
    Author(author): Author,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let form = body::form(&headers)?;
    let _permit = context.changes.acquire().await.map_err(reply::internal)?;
    let bytes = body::bytes(body).await?;
    let mut change = match form {
        Form::Yaml => {
            let put = vec![Raw { name: "body".into(), bytes: bytes.into() }];
            Change { put, ..Change::default() }
        }
        Form::Json => {
            let ApplyRequest { files, delete, message } = body::parse(&bytes)?;
            let delete = delete.into_iter().map(|reference| (reference.kind, reference.name)).collect();
            Change { put: raws(files)?, delete, message, ..Change::default() }
        }
    };
    if change.put.is_empty() && change.delete.is_empty() {
        return Err(
            Problem::new(ProblemKind::InvalidRequest).detail("there is nothing to apply or to delete")
        );
    }
    // Here the tag is that of the list of all documents; the store then looks at those that the change names.
    change.expected = base(&headers)?;
    change.message = body::message(message.unwrap_or(change.message))?;
    change.author = author;
    change.cause = Parent::of(&headers);
    change.dry_run = dry_run;
    let applied = documents::apply(&context, change).await?;
    let revision = applied.revision;
    Ok(tagged(reply::json(&applied)?, revision))
}

/// The revision on which a change is based: any that there has been.
fn base(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(axum::http::header::IF_MATCH) else { return Ok(None) };
    let tag =
        value.to_str().ok().and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok());
    match tag {
        Some(revision) => Ok(Some(revision)),
        None if value == "*" => Ok(None),
        None => Err(Problem::new(ProblemKind::InvalidRequest)
            .detail("if-match: expected the revision on which the change is based, such as \"7\"")),
    }
}

/// Makes the documents what they were.
pub(super) async fn rollback(
    State(context): State<Context>,
    Query(Manner { dry_run, message: other }): Query<Manner>,
    Author(author): Author,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let RollbackRequest { to, message } = body::json(&headers, body).await?;
    let message = body::message(other.unwrap_or(message))?;
    let newest = context.admin.store.latest().revision;
    precondition::expected(&headers, Some(newest))?;
    let store = Arc::clone(&context.admin.store);
    let cause = Parent::of(&headers);
    let applied =
        blocking(move || store.rollback(to, author, message, cause, dry_run).map_err(Problem::from)).await?;
    let revision = applied.revision;
    Ok(tagged(reply::json(&applied)?, revision))
}

/// Texts as the store takes them.
pub(super) fn raws(files: Vec<Text>) -> Result<Vec<Raw>, Problem> {
    let raw = |Text { name, text }: Text| {
        if name.is_empty() || name.len() > MAX_NAME {
            let problem = Problem::new(ProblemKind::InvalidRequest);
            return Err(problem.detail(format!("files[].name: expected 1 to {MAX_NAME} characters")));
        }
        Ok(Raw { name: name.into(), bytes: text.into() })
    };
    files.into_iter().map(raw).collect()
}
