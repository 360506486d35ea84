//! The admin address: whether this process lives, and whether it has something to serve.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::cache::Cache;

/// `/healthz` answers 200 as long as the process answers at all, `/readyz` once documents have been loaded and 503 before.
pub fn routes(cache: Arc<Cache>) -> Router {
    let ready = move || async move {
        if cache.is_loaded() {
            (StatusCode::OK, "ready\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "loading\n")
        }
    };
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready))
}
