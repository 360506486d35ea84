//! Load reports for the admin API.

use std::sync::Arc;
use std::time::Instant;

use axum::routing::get;
use axum::{Json, Router};

use super::Loads;

/// `GET loads`: what proxies report at present, by fleet.
pub fn routes<S: Clone + Send + Sync + 'static>(loads: Arc<Loads>) -> Router<S> {
    Router::new().route("/loads", get(move || async move { Json(loads.view(Instant::now())) }))
}
