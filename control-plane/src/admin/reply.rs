//! Answers: JSON, documents as YAML, entity tags, and problems.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::problem::{DocumentError, MEDIA_TYPE, Problem, ProblemKind};
use crate::store::{ApplyError, Diagnostics};

/// The media type of documents as they were written.
pub(super) const YAML: &str = "application/yaml";

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = answer(status, MEDIA_TYPE, serde_json::to_vec(&self).unwrap_or_default());
        if self.kind == ProblemKind::Unauthorized {
            let scheme = HeaderValue::from_static("Bearer realm=\"spillway\"");
            response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, scheme);
        }
        // For whoever gives it the request's id.
        response.extensions_mut().insert(self);
        response
    }
}

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(internal)?;
    Ok(answer(StatusCode::OK, "application/json", body))
}

/// A body of a media type.
pub(super) fn answer(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = (status, body.into()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The answer with the entity tag of a revision.
pub(super) fn tagged(mut response: Response, revision: u64) -> Response {
    set(&mut response, ETAG, &format!("\"{revision}\""));
    response
}

/// Sets a header to what is known to be allowed in one.
pub(super) fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Trouble that is nobody's fault who asks.
pub(super) fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "a request could not be answered");
    Problem::new(ProblemKind::Internal).detail(error.to_string())
}

/// Every error of some documents.
pub(super) fn invalid(Diagnostics(diagnostics): &Diagnostics) -> Problem {
    let count = diagnostics.len();
    let mut problem = Problem::new(ProblemKind::InvalidDocuments)
        .detail(format!("{count} {}: nothing was changed", if count == 1 { "error" } else { "errors" }));
    problem.errors = diagnostics.iter().map(DocumentError::from).collect();
    problem
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        let text = error.to_string();
        match error {
            ApplyError::Invalid(diagnostics) => invalid(&diagnostics),
            ApplyError::ReadOnly { .. } => Self::new(ProblemKind::ReadOnly).detail(text),
            ApplyError::Conflict { found, .. } => {
                let mut problem = Self::new(ProblemKind::Conflict).detail(text);
                problem.revision = Some(found);
                problem
            }
            ApplyError::NotFound { .. } | ApplyError::NoRevision { .. } => {
                Self::new(ProblemKind::NotFound).detail(text)
            }
            ApplyError::Unreadable { .. } | ApplyError::Disk { .. } => {
                tracing::error!(error = text, "a change could not be made");
                Self::new(ProblemKind::Internal).detail(text)
            }
        }
    }
}

/// Runs what blocks on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(internal(error)))
}
