//! What would change, or has changed, in the resources of each fleet.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::Context;
use super::body;
use super::change::raws;
use super::reply::{self, blocking, invalid};
use crate::api::problem::Problem;
use crate::api::{DiffDocuments, DiffRequest, DiffRevisions};
use crate::model::Model;
use crate::store::{Accepted, Raw, Store};

/// Compares.
pub(super) async fn diff(
    State(context): State<Context>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let _permit = context.changes.acquire().await.map_err(reply::internal)?;
    let request: DiffRequest = body::json(&headers, body).await?;
    let store = Arc::clone(&context.admin.store);
    blocking(move || {
        let (before, after) = match request {
            DiffRequest::Documents(DiffDocuments { files, complete }) => {
                let accepted = store.latest();
                let mut files = raws(files)?;
                if !complete {
                    files.extend(others(&accepted, &files));
                }
                let after = store.check(&files).map_err(|diagnostics| invalid(&diagnostics))?;
                (Arc::clone(&accepted.model), Arc::new(after))
            }
            DiffRequest::Revisions(DiffRevisions { from, to }) => {
                let to = to.unwrap_or_else(|| store.latest().revision);
                (at(&*store, from)?, at(&*store, to)?)
            }
        };
        reply::json(&crate::api::difference(&before, &after))
    })
    .await
}

/// The documents in force that none of these texts replaces.
fn others(accepted: &Accepted, files: &[Raw]) -> Vec<Raw> {
    let contents = files.iter().map(|raw| crate::document::read(&raw.name, &raw.bytes));
    let replaced: BTreeSet<_> = contents
        .flat_map(|contents| contents.documents)
        .map(|document| (document.kind, document.name.clone()))
        .collect();
    let kept = accepted.documents.iter().filter(|(key, _)| !replaced.contains(key));
    kept.map(|((kind, name), stored)| Raw {
        name: format!("{kind} {name}").into(),
        bytes: stored.text.as_bytes().to_vec(),
    })
    .collect()
}

/// What the documents of a revision meant.
fn at(store: &dyn Store, revision: u64) -> Result<Arc<Model>, Problem> {
    store.model_at(revision).map_err(Problem::from)
}
