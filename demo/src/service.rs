//! What a client of the upstream sees.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::behaviour::Upstream;
use crate::resettable::{Breaker, ResettableListener};

/// A request as it arrived here, for `?echo`.
#[derive(Debug, Serialize)]
struct Echo {
    upstream: String,
    method: String,
    path: String,
    /// Every value of every header. Bytes above 127 are shown as the Latin-1 character of the same number, so that none is lost.
    headers: BTreeMap<String, Vec<String>>,
}

/// Serves every path and method until the listener breaks.
pub(crate) async fn serve(listener: TcpListener, upstream: Arc<Upstream>) -> anyhow::Result<()> {
    let app = Router::new().fallback(answer).with_state(upstream);
    let app = app.into_make_service_with_connect_info::<Breaker>();
    Ok(axum::serve(ResettableListener(listener), app).await?)
}

async fn answer(
    State(upstream): State<Arc<Upstream>>,
    ConnectInfo(breaker): ConnectInfo<Breaker>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    // Read to the end before the answer: an upstream that answers early makes the proxy reset the request, which is another test.
    _body: axum::body::Bytes,
) -> Response {
    upstream.count();
    let behaviour = upstream.behaviour();
    if behaviour.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(behaviour.delay_ms)).await;
    }
    if behaviour.reset {
        breaker.reset();
        return Body::empty().into_response();
    }
    let echo = uri.query().is_some_and(|query| query.split('&').any(|part| part == "echo"));
    let mut response = if echo {
        Json(Echo::of(&upstream.name, &method, &uri, &headers)).into_response()
    } else {
        format!("{}\n", upstream.name).into_response()
    };
    *response.status_mut() =
        StatusCode::from_u16(behaviour.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(name) = HeaderValue::from_str(&upstream.name) {
        response.headers_mut().insert("x-upstream", name);
    }
    response
}

impl Echo {
    fn of(upstream: &str, method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let mut shown = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in headers {
            let value = value.as_bytes().iter().copied().map(char::from).collect();
            shown.entry(name.to_string()).or_default().push(value);
        }
        Self {
            upstream: upstream.to_owned(),
            method: method.to_string(),
            path: uri.path().to_owned(),
            headers: shown,
        }
    }
}
