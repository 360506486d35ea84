//! The discovery protocol over gRPC: adapters between HTTP/2 and [`crate::stream`], which alone knows the protocol.
//!
//! A stream has no task and no queue of its own. The transport asks for the next response when it has room for one, and only then is it worked
//! out, from the newest snapshot: a client that reads slowly holds up nobody and makes nothing pile up.

mod client_status;
pub mod clients;
mod grpc;
pub mod incoming;
mod load_reports;
mod message;
pub mod peer;
mod session;
pub mod shutdown;

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tonic::Status;
use tonic::transport::Server;

use crate::cache::Cache;
use crate::fleet::Fleets;
use crate::load::Loads;
use crate::resource::Kind;
use crate::stream::Options;
use crate::subscription::Variant;

use self::clients::Clients;
use self::message::{DeltaRequest, StateRequest};
use self::shutdown::Shutdown;

/// Largest request taken. Envoy's first one lists every extension it was built with, some 100 KiB.
const MAX_REQUEST: usize = 4 * 1024 * 1024;

/// A connection that answers no ping within the timeout is closed, and its streams with it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// An Envoy opens one stream, and with separate services one for every kind of resource.
const MAX_STREAMS_PER_CONNECTION: u32 = 100;

/// Requests a client may send before they are read: a stream's, and a connection's. They are small, apart from an Envoy's first.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// What all streams share.
#[derive(Debug)]
pub struct Context {
    /// Where snapshots come from.
    pub cache: Arc<Cache>,
    /// Who is connected, and what they have refused.
    pub fleets: Fleets,
    /// The streams that are open.
    pub clients: Arc<Clients>,
    /// What proxies report about their upstreams.
    pub loads: Arc<Loads>,
    /// How often they should.
    pub load_interval: Duration,
    /// Whether secrets are served here: only where no stranger can read along or ask.
    pub secrets: bool,
    /// Ends every stream.
    pub shutdown: Shutdown,
}

/// The services of the protocol: the kind that each implies, and its methods for the state-of-the-world and the delta variant.
const SERVICES: [(Option<Kind>, &str, &str); 7] = [
    (
        None,
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    ),
    (
        Some(Kind::Listener),
        "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners",
        "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners",
    ),
    (
        Some(Kind::Route),
        "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes",
        "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes",
    ),
    (
        Some(Kind::Cluster),
        "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
        "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
    ),
    (
        Some(Kind::Endpoints),
        "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints",
        "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
    ),
    (
        Some(Kind::Secret),
        "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
        "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets",
    ),
    (
        Some(Kind::ExtensionConfig),
        "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/StreamExtensionConfigs",
        "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs",
    ),
];

/// The routes of every service on the xDS port.
pub fn routes(context: &Arc<Context>) -> Router {
    let discovery = SERVICES.into_iter().fold(Router::new(), |router, (only, whole, delta)| {
        let options = Options { only, legacy_wildcard: true, seed: 0, secrets: context.secrets };
        router
            .route(whole, post(endpoint::<StateRequest>(context, Variant::StateOfTheWorld, options)))
            .route(delta, post(endpoint::<DeltaRequest>(context, Variant::Delta, options)))
    });
    let reports = client_status::routes(context).reset_fallback();
    discovery.merge(reports).merge(load_reports::routes(context).reset_fallback()).fallback(unknown)
}

/// What is asked for a method that is not there, in the words of its protocol.
async fn unknown(request: Request) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|text| text.starts_with("application/grpc")) {
        Status::unimplemented(format!("{} is not served here", request.uri().path())).into_http()
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

/// A server with the limits and timeouts that long-lived streams need; over HTTP/1 it serves what does not stream.
pub fn server() -> Server {
    Server::builder()
        .accept_http1(true)
        .tcp_nodelay(true)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

/// One gRPC method.
fn endpoint<Q: prost::Message + Default + Into<crate::stream::Request> + 'static>(
    context: &Arc<Context>,
    variant: Variant,
    options: Options,
) -> impl Fn(Request) -> Ready<Response> + Clone + use<Q> {
    let context = Arc::clone(context);
    move |request| {
        ready(session::open::<Q>(&context, variant, options, request).unwrap_or_else(Status::into_http))
    }
}

#[cfg(test)]
mod tests;
