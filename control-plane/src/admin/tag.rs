//! Every request has an id: in the answer's `x-request-id`, in problems, and in the log.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use axum::extract::Request;
use axum::http::{HeaderName, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::{Instrument as _, debug, info, info_span};

use super::reply;
use crate::api::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A client's own id is taken if it is no longer.
const MAX_ID: usize = 64;

/// Gives the request its id, and logs what became of it.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let id = given.filter(|id| is_id(id)).map_or_else(fresh, ToOwned::to_owned);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = info_span!("request", id);
    async {
        let mut response = next.run(request).await;
        if let Some(mut problem) = response.extensions_mut().remove::<Problem>() {
            problem.instance = Some(format!("urn:spillway:request:{id}"));
            // What was set beside the problem (`Allow` and the like) stays.
            let (parts, _) = response.into_parts();
            let mut with_id = problem.into_response();
            for (name, value) in &parts.headers {
                if name != axum::http::header::CONTENT_LENGTH {
                    with_id.headers_mut().insert(name, value.clone());
                }
            }
            response = with_id;
        }
        reply::set(&mut response, REQUEST_ID, &id);
        let status = response.status().as_u16();
        if matches!(method, Method::GET | Method::HEAD) {
            debug!(%method, path, status, "answered");
        } else {
            info!(%method, path, status, "answered");
        }
        response
    }
    .instrument(span)
    .await
}

fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= MAX_ID
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Differs from every other, of this process and of those before.
fn fresh() -> String {
    static START: LazyLock<u128> = LazyLock::new(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros()
    });
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("{:x}-{}", *START, COUNT.fetch_add(1, Ordering::Relaxed))
}
