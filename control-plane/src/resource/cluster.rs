//! Backends as clusters.
//!
//! Endpoints come by EDS, so that an endpoint that comes or goes does not make a new cluster, whose connections would be new too. (Rings
//! are the exception: see [`balancing`].)

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster,
    circuit_breakers::{Thresholds, thresholds::RetryBudget},
    cluster,
};
use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as CommonHttpProtocolOptions,
    RoutingPriority,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions,
    http_protocol_options::{
        ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
    },
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use prost::Name;
use spillway_policy::unit::Ratio;

use super::{any, duration, over_ads, tls, uint32};
use crate::document::kind::{Backend, BackendProtocol, ConnectionPool, Endpoint};

mod balancing;
mod health;

/// So many second attempts at once are allowed in any case: a share of little traffic would be none.
const MIN_RETRIES: u32 = 3;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Idle upstream connections are closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections, waiting requests and active requests of one proxy to one Backend.
///
/// Envoy's own default, 1,024 of each, is a limit that nobody wrote and that shows as bare 503s; protection is what policies are for.
/// There is still a bound, because a Backend that hangs would otherwise take every file descriptor of the proxy.
const MAX_IN_USE: u32 = 16_384;

/// Envoy's edge guidance: bounds the memory of a connection whose reader is slow.
const BUFFER_LIMIT: u32 = 32 * 1_024;

const STREAM_WINDOW: u32 = 64 * 1_024;
const CONNECTION_WINDOW: u32 = 1_024 * 1_024;

/// The cluster of one Backend, named after it. Of its endpoints only a ring's size depends on how many there are.
pub fn cluster(name: &str, backend: &Backend, found: &[Endpoint]) -> Cluster {
    let Backend {
        protocol,
        endpoints: _, // by EDS, as `discovery` finds them
        discovery: _,
        load_balancing,
        health_check,
        outlier_detection,
        connection_pool: pool,
        tls,
    } = backend;
    let options = http_options(*protocol, pool);
    let cluster = Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into())),
        eds_cluster_config: Some(cluster::EdsClusterConfig {
            eds_config: Some(over_ads()),
            service_name: String::new(),
        }),
        connect_timeout: Some(duration(
            pool.connect_timeout.map_or(CONNECT_TIMEOUT, spillway_policy::unit::Duration::get),
        )),
        per_connection_buffer_limit_bytes: Some(uint32(BUFFER_LIMIT)),
        circuit_breakers: Some(circuit_breakers(pool)),
        typed_extension_protocol_options: options
            .map(|options| (HttpProtocolOptions::full_name(), any(&options)))
            .into_iter()
            .collect(),
        health_checks: health_check.iter().map(|check| health::active(check, *protocol)).collect(),
        outlier_detection: outlier_detection.as_ref().map(health::passive),
        transport_socket: tls.as_ref().map(|tls| tls::upstream(tls, *protocol)),
        // Otherwise an endpoint that is taken out of the documents would get requests for as long as it passes its checks.
        ignore_health_on_host_removal: true,
        ..Cluster::default()
    };
    balancing::balanced(cluster, load_balancing, found)
}

/// With a bound on second attempts as a share of what is active, in place of a number.
pub fn within(budget: Option<Ratio>, mut cluster: Cluster) -> Cluster {
    let budget = budget.map(|budget| RetryBudget {
        budget_percent: Some(Percent { value: f64::from(budget.basis_points()) / 100.0 }),
        min_retry_concurrency: Some(uint32(MIN_RETRIES)),
        ..RetryBudget::default()
    });
    for thresholds in cluster.circuit_breakers.iter_mut().flat_map(|breakers| &mut breakers.thresholds) {
        thresholds.retry_budget.clone_from(&budget);
    }
    cluster
}

fn circuit_breakers(pool: &ConnectionPool) -> CircuitBreakers {
    let bound = |given: Option<std::num::NonZeroU32>| {
        Some(uint32(given.map_or(MAX_IN_USE, std::num::NonZeroU32::get)))
    };
    let thresholds = |priority: RoutingPriority| Thresholds {
        priority: priority.into(),
        max_connections: bound(pool.max_connections),
        max_pending_requests: bound(pool.max_pending_requests),
        max_requests: bound(pool.max_requests),
        max_retries: pool.max_retries.map(uint32),
        ..Thresholds::default()
    };
    CircuitBreakers {
        thresholds: [RoutingPriority::Default, RoutingPriority::High].map(thresholds).into(),
        per_host_thresholds: Vec::new(),
    }
}

/// What is particular to HTTP; nothing where bytes are passed on as they are.
fn http_options(protocol: BackendProtocol, pool: &ConnectionPool) -> Option<HttpProtocolOptions> {
    let config = match protocol {
        BackendProtocol::Tcp => return None,
        BackendProtocol::Http1 => ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default()),
        BackendProtocol::Http2 | BackendProtocol::Grpc => {
            ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions {
                initial_stream_window_size: Some(uint32(STREAM_WINDOW)),
                initial_connection_window_size: Some(uint32(CONNECTION_WINDOW)),
                ..Http2ProtocolOptions::default()
            })
        }
    };
    Some(HttpProtocolOptions {
        common_http_protocol_options: Some(CommonHttpProtocolOptions {
            idle_timeout: Some(duration(
                pool.idle_timeout.map_or(IDLE_TIMEOUT, spillway_policy::unit::Duration::get),
            )),
            ..CommonHttpProtocolOptions::default()
        }),
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })),
        ..HttpProtocolOptions::default()
    })
}
