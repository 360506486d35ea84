use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy, tcp_proxy::ClusterSpecifier,
};

use super::*;
use crate::resource::tests::model;

const A: (&str, &str, &str) = ("Backend", "a", "{protocol: TCP, endpoints: []}");
const B: (&str, &str, &str) = ("Backend", "b", "{protocol: TCP, endpoints: []}");

/// The only listener of a Gateway, beside other documents.
fn rendered(one: &str, others: &[(&str, &str, &str)]) -> Listener {
    let gateway = format!("{{fleet: edge, listeners: [{{name: web, port: 80, {one}}}]}}");
    let documents: Vec<_> =
        [("Gateway", "edge", gateway.as_str())].into_iter().chain(others.iter().copied()).collect();
    let model = model(&documents);
    let gateway = &model.gateways["edge"];
    let one = &gateway.listeners[0];
    let attachments: Vec<_> = model.routes_of("edge", one).collect();
    listener("edge", one, &attachments, crate::resource::tracing::settings(gateway))
}

fn names(listener: &Listener) -> Vec<&str> {
    listener.filter_chains[0].filters.iter().map(|filter| filter.name.as_str()).collect()
}

fn decoded<M: Message + Default>(filter: &Filter) -> M {
    let Some(filter::ConfigType::TypedConfig(any)) = &filter.config_type else { panic!("{filter:?}") };
    M::decode(&*any.value).unwrap()
}

fn manager(listener: &Listener) -> HttpConnectionManager {
    decoded(&listener.filter_chains[0].filters[1])
}

#[test]
fn limits_are_safe_where_nothing_is_said() {
    let listener = rendered("protocol: HTTP", &[]);
    assert_eq!(
        names(&listener),
        ["envoy.filters.network.connection_limit", "envoy.filters.network.http_connection_manager"]
    );
    let limit: ConnectionLimit = decoded(&listener.filter_chains[0].filters[0]);
    assert_eq!(limit.max_connections.unwrap().value, 100_000);
    let manager = manager(&listener);
    assert_eq!(manager.request_headers_timeout.unwrap().seconds, 10);
    assert_eq!(manager.request_timeout.unwrap().seconds, 0);
    assert_eq!(manager.stream_idle_timeout.unwrap().seconds, 300);
    assert_eq!(manager.common_http_protocol_options.unwrap().idle_timeout.unwrap().seconds, 300);
    assert_eq!(manager.max_request_headers_kb.unwrap().value, 60);
    assert_eq!(manager.http2_protocol_options.unwrap().max_concurrent_streams.unwrap().value, 100);
    assert_eq!(manager.xff_num_trusted_hops, 0);
    assert!(listener.listener_filters.is_empty());
}

#[test]
fn limits_and_the_clients_address_are_what_documents_say() {
    let listener = rendered(
        "protocol: HTTP, clientAddress: {trustedHops: 2, proxyProtocol: true}, limits: {maxConnections: 7, idleTimeout: 1m, \
         requestHeadersTimeout: 2s, requestTimeout: 3s, maxRequestHeaders: 8KiB, maxConcurrentStreams: 9}",
        &[],
    );
    let limit: ConnectionLimit = decoded(&listener.filter_chains[0].filters[0]);
    assert_eq!(limit.max_connections.unwrap().value, 7);
    let manager = manager(&listener);
    assert_eq!(manager.request_headers_timeout.unwrap().seconds, 2);
    assert_eq!(manager.request_timeout.unwrap().seconds, 3);
    assert_eq!(manager.stream_idle_timeout.unwrap().seconds, 60);
    assert_eq!(manager.common_http_protocol_options.unwrap().idle_timeout.unwrap().seconds, 60);
    assert_eq!(manager.max_request_headers_kb.unwrap().value, 8);
    assert_eq!(manager.http2_protocol_options.unwrap().max_concurrent_streams.unwrap().value, 9);
    assert_eq!(manager.xff_num_trusted_hops, 2);
    assert_eq!(listener.listener_filters[0].name, "envoy.filters.listener.proxy_protocol");
    assert_eq!(
        listener.listener_filters_timeout.unwrap().seconds,
        2,
        "a PROXY header has to come in time, too"
    );
}

/// What a TCP listener does, with one Route whose rule is given.
fn tcp(rule: &str) -> Listener {
    let route = format!("{{parentRefs: [{{name: edge, sectionName: web}}], rules: [{{name: all, {rule}}}]}}");
    rendered("protocol: TCP", &[A, B, ("Route", "r", &route)])
}

#[test]
fn connections_are_passed_on_by_weight() {
    let listener = tcp("backendRefs: [{name: a, weight: 3}, {name: b}], timeouts: {idle: 7s, lifetime: 1h}");
    let proxy: TcpProxy = decoded(&listener.filter_chains[0].filters[1]);
    let Some(ClusterSpecifier::WeightedClusters(split)) = proxy.cluster_specifier else { panic!() };
    let weights: Vec<_> = split.clusters.iter().map(|one| (&*one.name, one.weight)).collect();
    assert_eq!(weights, [("a", 3), ("b", 1)]);
    assert_eq!(proxy.idle_timeout.unwrap().seconds, 7);
    assert_eq!(proxy.max_downstream_connection_duration.unwrap().seconds, 3_600);

    let proxy: TcpProxy =
        decoded(&tcp("backendRefs: [{name: a, weight: 0}, {name: b}]").filter_chains[0].filters[1]);
    assert_eq!(proxy.cluster_specifier, Some(ClusterSpecifier::Cluster("b".into())));
    assert_eq!(proxy.idle_timeout.unwrap().seconds, 300);
}

#[test]
fn connections_that_lead_nowhere_are_closed() {
    let last = "envoy.filters.network.direct_response";
    assert_eq!(names(&rendered("protocol: TCP", &[]))[1], last);
    assert_eq!(names(&tcp("backendRefs: [{name: a, weight: 0}]"))[1], last);
}

/// The HTTP filters of a listener of a Gateway whose requests have a key, with one Route whose only rule matches this.
fn http_filters(matched: &str) -> Vec<String> {
    let route = format!(
        "{{parentRefs: [{{name: edge}}], rules: [{{name: one, matches: [{{{matched}}}], backendRefs: [{{name: h}}]}}]}}"
    );
    let keyed = "{targetRefs: [{kind: Gateway, name: edge}], routeKey: [{header: x-tenant}]}";
    let documents =
        [("Backend", "h", "{endpoints: []}"), ("Route", "r", &route), ("TrafficPolicy", "keyed", keyed)];
    let manager = manager(&rendered("protocol: HTTP", &documents));
    manager.http_filters.into_iter().map(|filter| filter.name).collect()
}

#[test]
fn the_filter_is_split_only_where_a_rule_is_chosen_by_the_key() {
    let router = "envoy.filters.http.router";
    assert_eq!(http_filters("path: {value: /a}"), ["spillway/edge", router]);
    assert_eq!(
        http_filters("routeKey: {value: vip}"),
        ["spillway/edge/key", "envoy.filters.http.header_mutation", "spillway/edge", router]
    );
}
