//! The separate port on which the services take orders, so that no order has to pass the proxy under test.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::behaviour::{Behaviour, Upstream};

type Upstreams = Arc<Vec<Arc<Upstream>>>;

/// A service as `GET /upstreams` shows it.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    requests: u64,
    #[serde(flatten)]
    behaviour: Behaviour,
}

impl Shown {
    fn of(upstream: &Upstream) -> Self {
        Self { name: upstream.name.clone(), requests: upstream.requests(), behaviour: upstream.behaviour() }
    }
}

/// Serves the control port until the listener breaks.
pub(crate) async fn serve(listener: TcpListener, upstreams: Vec<Arc<Upstream>>) -> anyhow::Result<()> {
    let app = Router::new()
        .route("/upstreams", get(list))
        .route("/upstreams/{name}", put(behave))
        .with_state(Arc::new(upstreams));
    Ok(axum::serve(listener, app).await?)
}

async fn list(State(upstreams): State<Upstreams>) -> Json<Vec<Shown>> {
    Json(upstreams.iter().map(|upstream| Shown::of(upstream)).collect())
}

async fn behave(
    State(upstreams): State<Upstreams>,
    Path(name): Path<String>,
    Json(behaviour): Json<Behaviour>,
) -> Result<Json<Shown>, (StatusCode, String)> {
    if !(200..=599).contains(&behaviour.status) {
        return Err((StatusCode::BAD_REQUEST, format!("status {}: 200 to 599 expected\n", behaviour.status)));
    }
    let upstream = upstreams
        .iter()
        .find(|upstream| upstream.name == name)
        .ok_or_else(|| (StatusCode::NOT_FOUND, format!("no upstream is named {name}\n")))?;
    upstream.behave(behaviour);
    Ok(Json(Shown::of(upstream)))
}
