//! The history.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::Context;
use super::body::{Path, Query};
use super::reply::{self, blocking};
use crate::api::problem::{Problem, ProblemKind};
use crate::api::{MAX_REVISION, RevisionList};

/// How many revisions are listed where it is not said.
const DEFAULT_LIMIT: u64 = 100;

/// How many are listed at most.
const MAX_LIMIT: u64 = 1_000;

/// Which revisions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<u64>,
    before: Option<u64>,
}

/// The revisions, the newest first.
pub(super) async fn list(
    State(context): State<Context>,
    Query(Page { limit, before }): Query<Page>,
) -> Result<Response, Problem> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let is_number = |number| (1..=MAX_REVISION).contains(&number);
    if !(1..=MAX_LIMIT).contains(&limit) || !before.is_none_or(is_number) {
        let problem = Problem::new(ProblemKind::InvalidRequest);
        return Err(
            problem.detail(format!("limit goes from 1 to {MAX_LIMIT}, before goes from 1 to {MAX_REVISION}"))
        );
    }
    let store = Arc::clone(&context.admin.store);
    blocking(move || {
        let kept = store.kept();
        let last = before.map_or(kept.newest, |before| (before - 1).min(kept.newest));
        let first = last.saturating_sub(limit - 1).max(kept.oldest);
        let revisions = if first <= last { store.revisions(first..=last) } else { Vec::new() };
        reply::json(&RevisionList { kept, revisions })
    })
    .await
}

/// One revision.
pub(super) async fn read(
    State(context): State<Context>,
    Path(number): Path<String>,
) -> Result<Response, Problem> {
    let Ok(number) = number.parse::<u64>() else {
        return Err(Problem::new(ProblemKind::NotFound).detail(format!("{number:?} is no revision")));
    };
    let store = Arc::clone(&context.admin.store);
    blocking(move || {
        if let Some(revision) = store.revision(number) {
            return reply::json(&revision);
        }
        let kept = store.kept();
        Err(Problem::new(ProblemKind::NotFound)
            .detail(format!("there is no revision {number}: {} to {} are kept", kept.oldest, kept.newest)))
    })
    .await
}
