//! The admin address: the API of [`crate::api`], the metrics, and whether this process lives and has something to serve.
//!
//! Adapters between HTTP and the store and the registry of proxies; nothing is decided here but who may ask.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::api::problem::{Problem, ProblemKind};
use crate::api::{PREFIX, openapi};
use crate::cache::Cache;
use crate::discovery::clients::Clients;
use crate::fleet::Fleets;
use crate::load::Loads;
use crate::store::Store;

mod body;
mod change;
mod diff;

mod documents;
mod events;
mod fleets;
pub(crate) mod metrics;
mod precondition;
pub mod protection;
mod reply;
mod revisions;
mod tag;

pub use self::protection::Protection;

/// Requests with documents in them that are worked on at a time: each may hold tens of megabytes. Others wait.
const MAX_CHANGES: usize = 4;

/// Event streams at a time.
const MAX_EVENT_STREAMS: usize = 256;

/// What requests are answered from.
#[derive(Clone)]
pub struct Admin {
    /// The documents.
    pub store: Arc<dyn Store>,
    /// What is served.
    pub cache: Arc<Cache>,
    /// The proxies.
    pub fleets: Fleets,
    /// Their streams.
    pub clients: Arc<Clients>,
    /// What proxies report about their upstreams.
    pub loads: Arc<Loads>,
    /// Ends event streams.
    pub shutdown: CancellationToken,
}

/// What handlers share.
#[derive(Clone)]
struct Context {
    admin: Arc<Admin>,
    changes: Arc<Semaphore>,
    event_streams: Arc<Semaphore>,
}

/// The routes of the admin address. `/healthz` and `/readyz` are everybody's; the rest is for those whom `protection` lets in.
pub fn router(admin: Admin, protection: Protection) -> Router {
    let loads = Arc::clone(&admin.loads);
    let context = Context {
        admin: Arc::new(admin),
        changes: Arc::new(Semaphore::new(MAX_CHANGES)),
        event_streams: Arc::new(Semaphore::new(MAX_EVENT_STREAMS)),
    };
    let api = Router::new()
        .route("/documents", get(documents::list))
        .route(
            "/documents/{kind}/{name}",
            get(documents::read).put(documents::write).delete(documents::delete),
        )
        .route("/apply", post(change::apply))
        .route("/diff", post(diff::diff))
        .route("/revisions", get(revisions::list))
        .route("/revisions/{number}", get(revisions::read))
        .route("/rollback", post(change::rollback))
        .route("/fleets", get(fleets::fleets))
        .route("/proxies", get(fleets::proxies))
        .merge(crate::load::http::routes(loads))
        .route("/events", get(events::events))
        .route("/openapi.json", get(|| async { axum::Json(openapi::document()) }));
    let protected = Router::new()
        .nest(PREFIX, api)
        .route("/metrics", get(metrics::metrics))
        .fallback(|| async { Problem::new(ProblemKind::NotFound) })
        .layer(middleware::from_fn_with_state(Arc::new(protection), protection::check));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(protected)
        .method_not_allowed_fallback(|| async { Problem::new(ProblemKind::MethodNotAllowed) })
        .layer(middleware::from_fn(tag::tag))
        .with_state(context)
}

async fn ready(State(context): State<Context>) -> Response {
    if context.admin.cache.is_loaded() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "loading\n").into_response()
    }
}
