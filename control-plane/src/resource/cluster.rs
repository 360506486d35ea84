//! Backends as clusters.
//!
//! Endpoints come by EDS, so that an endpoint that comes or goes does not make a new cluster, whose connections would be new too.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, circuit_breakers::Thresholds, cluster,
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
use prost::Name;

use super::{any, duration, over_ads, uint32};
use crate::document::kind::{Backend, BackendProtocol};

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

/// The cluster of one Backend, named after it.
pub fn cluster(name: &str, backend: &Backend) -> Cluster {
    let Backend {
        protocol,
        endpoints: _, // by EDS
        // Not available yet, so these have no values.
        discovery: _,
        load_balancing: _,
        health_check: _,
        outlier_detection: _,
        connection_pool: _,
        tls: _,
    } = backend;
    let thresholds = |priority: RoutingPriority| Thresholds {
        priority: priority.into(),
        max_connections: Some(uint32(MAX_IN_USE)),
        max_pending_requests: Some(uint32(MAX_IN_USE)),
        max_requests: Some(uint32(MAX_IN_USE)),
        ..Thresholds::default()
    };
    let protocol_options = (HttpProtocolOptions::full_name(), any(&protocol_options(*protocol)));
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into())),
        eds_cluster_config: Some(cluster::EdsClusterConfig {
            eds_config: Some(over_ads()),
            service_name: String::new(),
        }),
        connect_timeout: Some(duration(CONNECT_TIMEOUT)),
        per_connection_buffer_limit_bytes: Some(uint32(BUFFER_LIMIT)),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: [RoutingPriority::Default, RoutingPriority::High].map(thresholds).into(),
            per_host_thresholds: Vec::new(),
        }),
        typed_extension_protocol_options: [protocol_options].into(),
        ..Cluster::default()
    }
}

fn protocol_options(protocol: BackendProtocol) -> HttpProtocolOptions {
    let config = match protocol {
        BackendProtocol::Http1 => ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default()),
        BackendProtocol::Http2 | BackendProtocol::Grpc => {
            ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions {
                initial_stream_window_size: Some(uint32(STREAM_WINDOW)),
                initial_connection_window_size: Some(uint32(CONNECTION_WINDOW)),
                ..Http2ProtocolOptions::default()
            })
        }
    };
    HttpProtocolOptions {
        common_http_protocol_options: Some(CommonHttpProtocolOptions {
            idle_timeout: Some(duration(IDLE_TIMEOUT)),
            ..CommonHttpProtocolOptions::default()
        }),
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })),
        ..HttpProtocolOptions::default()
    }
}
