//! The discovery protocol over gRPC: adapters between tonic and [`crate::stream`], which alone knows the protocol.
//!
//! A stream has no task and no queue of its own. The transport asks for the next response when it has room for one, and only then is it worked
//! out, from the newest snapshot: a client that reads slowly holds up nobody and makes nothing pile up.

pub mod incoming;
mod message;
pub mod peer;
mod session;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::post;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::cache::Cache;
use crate::fleet::Fleets;
use crate::refusal::Refusals;
use crate::stream::Options;
use crate::subscription::Variant;

use self::message::{DeltaRequest, DeltaResponse, StateRequest, StateResponse};

/// Largest request taken. Envoy's first one lists every extension it was built with, some 100 KiB.
const MAX_REQUEST: usize = 4 * 1024 * 1024;

/// A connection that answers no ping within the timeout is closed, and its streams with it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// An Envoy opens one stream, and with separate services one for every kind of resource.
const MAX_STREAMS_PER_CONNECTION: u32 = 100;

/// What all streams share.
#[derive(Debug)]
pub struct Context {
    /// Where snapshots come from.
    pub cache: Arc<Cache>,
    /// What proxies have refused.
    pub refusals: Arc<Refusals>,
    /// Who is connected.
    pub fleets: Fleets,
    /// Ends every stream.
    pub shutdown: CancellationToken,
}

/// The routes of the discovery services.
pub fn routes(context: &Arc<Context>) -> Router {
    // Only what a path implies differs between services; the services for single kinds are further rows with `only` set.
    let aggregated = Options { only: None, legacy_wildcard: true, seed: 0 };
    Router::new()
        .route(
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
            post(endpoint::<StateRequest, StateResponse>(context, Variant::StateOfTheWorld, aggregated)),
        )
        .route(
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
            post(endpoint::<DeltaRequest, DeltaResponse>(context, Variant::Delta, aggregated)),
        )
}

/// A server with the limits and timeouts that long-lived streams need; over HTTP/1 it serves what does not stream.
pub fn server() -> Server {
    Server::builder()
        .accept_http1(true)
        .tcp_nodelay(true)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

/// One gRPC method.
fn endpoint<Q, R>(
    context: &Arc<Context>,
    variant: Variant,
    options: Options,
) -> impl Fn(Request) -> futures_util::future::BoxFuture<'static, Response<tonic::body::Body>> + Clone + use<Q, R>
where
    Q: prost::Message + Default + Into<crate::stream::Request> + 'static,
    R: prost::Message + Default + From<crate::stream::Response> + 'static,
{
    let method = session::Method::<Q, R>::new(Arc::clone(context), variant, options);
    move |request| {
        let method = method.clone();
        Box::pin(async move {
            tonic::server::Grpc::new(tonic_prost::ProstCodec::<R, Q>::default())
                .max_decoding_message_size(MAX_REQUEST)
                .streaming(method, request)
                .await
        })
    }
}

#[cfg(test)]
mod tests;
