//! Spans of requests: Envoy's own OpenTelemetry tracer in a listener, and the cluster of the collector that gets them.
//!
//! Envoy's tracer reads the W3C's trace context and writes it. What comes as B3 (Zipkin's headers, one or several) is rewritten before the
//! tracer looks.

use std::net::IpAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::common::mutation_rules::v3::{
    HeaderMutation as Mutation, header_mutation::Action,
};
use envoy_types::pb::envoy::config::core::v3::{
    Address, GrpcService, HeaderValue, HeaderValueOption, Http2ProtocolOptions, SocketAddress,
    KeepaliveSettings, TypedExtensionConfig, address, grpc_service, header_value_option::HeaderAppendAction,
    socket_address,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use envoy_types::pb::envoy::config::trace::v3::{OpenTelemetryConfig, tracing as provider};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::Tracing as Settings;
use envoy_types::pb::envoy::extensions::tracers::opentelemetry::samplers::v3::{ParentBasedSamplerConfig, TraceIdRatioBasedSamplerConfig};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions,
    http_protocol_options::{
        ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
    },
};
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, Percent, fractional_percent};
use prost::Name;

use super::{any, boolean, duration, extension, uint32};
use crate::bootstrap::HostPort;
use crate::document::kind::{Gateway, Tracing};

/// How long a delivery may take. Spans are dropped then, and requests never wait for any of it.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How often a connection to a collector is tried.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// So many spans wait in a worker at most. That many come together only if a timer is late: a delivery that fails takes its spans with it.
const MAX_WAITING: u32 = 2_048;

/// What spans are tagged with, and where Envoy takes it from. What is empty is left out.
const TAGS: [(&str, &str); 6] = [
    ("error", "%FILTER_STATE(wasm.spillway_error:PLAIN)%"),
    // As the access log has it: also of what would have been rejected if it were not in shadow mode.
    ("spillway.decision", "%FILTER_STATE(wasm.spillway_decision:PLAIN)%"),
    ("spillway.kind", "%FILTER_STATE(wasm.spillway_kind:PLAIN)%"),
    ("spillway.policy", "%FILTER_STATE(wasm.spillway_policy:PLAIN)%"),
    ("spillway.route_key", "%FILTER_STATE(wasm.spillway_key:PLAIN)%"),
    ("spillway.rule", "%FILTER_STATE(wasm.spillway_rule:PLAIN)%"),
];

/// The name of the cluster of a collector.
pub fn cluster_name(collector: &HostPort) -> String {
    format!("spillway/tracing/{collector}")
}

/// The cluster of a collector.
pub fn cluster(collector: &HostPort) -> Cluster {
    let name = cluster_name(collector);
    let kind = match collector.host().parse::<IpAddr>() {
        Ok(_) => cluster::DiscoveryType::Static,
        Err(_) => cluster::DiscoveryType::StrictDns,
    };
    let address = SocketAddress {
        address: collector.host().to_owned(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(collector.port().get().into())),
        ..SocketAddress::default()
    };
    let endpoint = Endpoint {
        address: Some(Address { address: Some(address::Address::SocketAddress(address)) }),
        ..Endpoint::default()
    };
    let endpoint =
        LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    let endpoints = LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() };
    Cluster {
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name.clone(),
            endpoints: vec![endpoints],
            ..ClusterLoadAssignment::default()
        }),
        name,
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(kind.into())),
        connect_timeout: Some(duration(TIMEOUT)),
        // A name that the DNS is slow to know, or that does not exist, must not keep a proxy from starting.
        wait_for_warm_on_init: Some(boolean(false)),
        typed_extension_protocol_options: [(HttpProtocolOptions::full_name(), any(&over_http2()))].into(),
        ..Cluster::default()
    }
}

fn over_http2() -> HttpProtocolOptions {
    // A collector whose machine has vanished sends no reset.
    let keepalive = KeepaliveSettings {
        interval: Some(duration(KEEPALIVE)),
        timeout: Some(duration(TIMEOUT)),
        ..KeepaliveSettings::default()
    };
    let http2 =
        Http2ProtocolOptions { connection_keepalive: Some(keepalive), ..Http2ProtocolOptions::default() };
    HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(http2)),
        })),
        ..HttpProtocolOptions::default()
    }
}

/// The tracer of a Gateway's listeners. The service that spans are of is the fleet.
pub fn settings(gateway: &Gateway) -> Option<Settings> {
    let Tracing { otlp, sampling } = gateway.tracing.as_ref()?;
    let percent = |value| Some(Percent { value });
    let target = grpc_service::EnvoyGrpc {
        cluster_name: cluster_name(otlp),
        // Otherwise the cluster's name, which is not one that a server has.
        authority: otlp.to_string(),
        ..grpc_service::EnvoyGrpc::default()
    };
    let tracer = OpenTelemetryConfig {
        grpc_service: Some(GrpcService {
            timeout: Some(duration(TIMEOUT)),
            target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(target)),
            ..GrpcService::default()
        }),
        service_name: gateway.fleet.clone(),
        sampler: Some(sampler(sampling.basis_points())),
        max_cache_size: Some(uint32(MAX_WAITING)),
        ..OpenTelemetryConfig::default()
    };
    let tag = |(tag, value): (&str, &str)| CustomTag {
        tag: tag.to_owned(),
        r#type: Some(custom_tag::Type::Value(value.to_owned())),
    };
    Some(Settings {
        // What a client says in x-client-trace-id is not believed.
        client_sampling: percent(0.0),
        // The sampler chooses: chosen here, requests would lose the decision that they come with.
        random_sampling: percent(100.0),
        overall_sampling: percent(100.0),
        operation: "%ROUTE_NAME%".to_owned(),
        custom_tags: TAGS.map(tag).into(),
        provider: Some(provider::Http {
            name: "envoy.tracers.opentelemetry".to_owned(),
            config_type: Some(provider::http::ConfigType::TypedConfig(any(&tracer))),
        }),
        ..Settings::default()
    })
}

/// Records so many of ten thousand requests, by their trace ids, and those that come with the decision to; of none, nothing whatever they come with.
fn sampler(basis_points: u16) -> TypedExtensionConfig {
    let share = FractionalPercent {
        numerator: basis_points.into(),
        denominator: fractional_percent::DenominatorType::TenThousand.into(),
    };
    let by_chance = TraceIdRatioBasedSamplerConfig { sampling_percentage: Some(share) };
    let by_chance = extension("envoy.tracers.opentelemetry.samplers.trace_id_ratio_based", &by_chance);
    if basis_points == 0 {
        return by_chance;
    }
    let by_parent = ParentBasedSamplerConfig { wrapped_sampler: Some(by_chance) };
    extension("envoy.tracers.opentelemetry.samplers.parent_based", &by_parent)
}

/// Makes a `traceparent` of B3, where a request has none; and takes B3 away, because the upstream would otherwise be told two parents.
///
/// There are no conditions here but that a header exists, and a value that is empty is not set:
/// 1. what comes in several headers is put together as in the one, `TRACE-SPAN-DECISION`; a decision alone, with ids made of the time;
/// 2. a trace id of 64 bits gets zeros in front; whatever follows the decision is cut off, and the decision becomes flags;
/// 3. that is the `traceparent`. If it is none (as of `b3: 0`, a decision alone in one header), nothing is recorded.
pub(super) fn from_b3() -> impl Iterator<Item = Mutation> {
    const IN_ONE: &str = "b3";
    const TRACE: &str = "x-b3-traceid";
    const SAMPLED: &str = "x-b3-sampled";
    const FLAGS: &str = "x-b3-flags";
    let is = |expression: &str| {
        format!("\"{IN_ONE}\" in request.headers && request.headers[\"{IN_ONE}\"].matches(\"{expression}\")")
    };
    let joined = format!("%REQ({TRACE})%-%REQ(x-b3-spanid)%-%REQ({SAMPLED}?{FLAGS})%");
    let alone =
        |header: &str| format!("0000000000000%START_TIME(%s%9f)%-%START_TIME(1000000%9f)%-%REQ({header})%");
    let short = is("^[0-9a-f]{16}-");
    let padded = format!("00-%CEL({short} ? \"0000000000000000\" : \"\")%%REQ(b3)%");
    let sampled = is("-(1|d|true)(-[0-9a-f]+)?$");
    let flagged = format!("%REQ(b3):52%-%CEL({sampled} ? \"01\" : \"00\")%");
    let set = [
        (TRACE, joined, HeaderAppendAction::OverwriteIfExists),
        (IN_ONE, format!("%REQ({TRACE})%"), HeaderAppendAction::AddIfAbsent),
        (SAMPLED, alone(SAMPLED), HeaderAppendAction::OverwriteIfExists),
        (FLAGS, alone(FLAGS), HeaderAppendAction::OverwriteIfExists),
        (IN_ONE, format!("%REQ({SAMPLED}?{FLAGS})%"), HeaderAppendAction::AddIfAbsent),
        (IN_ONE, padded, HeaderAppendAction::OverwriteIfExists),
        (IN_ONE, flagged, HeaderAppendAction::OverwriteIfExists),
        ("traceparent", "%REQ(b3)%".to_owned(), HeaderAppendAction::AddIfAbsent),
    ];
    let set = set.map(|(key, value, action)| {
        Action::Append(HeaderValueOption {
            header: Some(HeaderValue { key: key.to_owned(), value, ..HeaderValue::default() }),
            append_action: action.into(),
            ..HeaderValueOption::default()
        })
    });
    let gone = [IN_ONE, TRACE, "x-b3-spanid", "x-b3-parentspanid", SAMPLED, FLAGS];
    let gone = gone.map(|name| Action::Remove(name.to_owned()));
    set.into_iter().chain(gone).map(|action| Mutation { action: Some(action) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::tests::model;

    fn traced(tracing: &str) -> (Settings, OpenTelemetryConfig) {
        let listeners = "listeners: [{name: web, port: 80, protocol: HTTP}]";
        let spec = format!("{{fleet: shop, tracing: {{{tracing}}}, {listeners}}}");
        let settings = settings(&model(&[("Gateway", "edge", &spec)]).gateways["edge"]).unwrap();
        let Some(provider::http::ConfigType::TypedConfig(config)) =
            settings.provider.clone().unwrap().config_type
        else {
            panic!("{settings:?}")
        };
        let config = prost::Message::decode(&*config.value).unwrap();
        (settings, config)
    }

    #[test]
    fn the_share_is_of_requests_that_nobody_decided_about_before() {
        let sampler = |tracing: &str| {
            let (settings, config) = traced(tracing);
            assert_eq!(settings.client_sampling, Some(Percent { value: 0.0 }));
            assert_eq!(config.service_name, "shop");
            config.sampler.unwrap()
        };
        let share = |sampler: &TypedExtensionConfig| {
            let config = sampler.typed_config.as_ref().unwrap();
            let config: TraceIdRatioBasedSamplerConfig = prost::Message::decode(&*config.value).unwrap();
            config.sampling_percentage.unwrap().numerator
        };
        for (sampling, expected) in [("", 10_000), (", sampling: 0.25%", 25)] {
            let by_parent = sampler(&format!("otlp: '127.0.0.1:4317'{sampling}"));
            let config = by_parent.typed_config.unwrap();
            let config: ParentBasedSamplerConfig = prost::Message::decode(&*config.value).unwrap();
            assert_eq!(share(&config.wrapped_sampler.unwrap()), expected);
        }
        let none = sampler("otlp: '127.0.0.1:4317', sampling: 0%");
        assert_eq!(none.name, "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based");
        assert_eq!(share(&none), 0, "what comes with the decision to record is not recorded either");
    }

    #[test]
    fn addresses_are_used_as_they_are_and_names_looked_up() {
        let kind = |collector: &str| {
            let cluster = cluster(&collector.parse().unwrap());
            assert_eq!(cluster.name, format!("spillway/tracing/{collector}"));
            assert_eq!(cluster.load_assignment.unwrap().cluster_name, cluster.name);
            cluster.cluster_discovery_type
        };
        let is = |kind: cluster::DiscoveryType| Some(cluster::ClusterDiscoveryType::Type(kind.into()));
        assert_eq!(kind("127.0.0.1:4317"), is(cluster::DiscoveryType::Static));
        assert_eq!(kind("[::1]:4317"), is(cluster::DiscoveryType::Static));
        assert_eq!(kind("collector:4317"), is(cluster::DiscoveryType::StrictDns));
    }
}
