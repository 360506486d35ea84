//! The bootstrap with which an Envoy finds this control plane: the only configuration an Envoy is ever given by hand.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::document::expression::MAX_PROGRAM_OF_ENVOY;

/// The cluster through which an Envoy reaches the control plane: xDS and the Wasm module come over the same port.
pub const CONTROL_PLANE_CLUSTER: &str = "spillway";

/// The field of the node's metadata below [`METADATA_NAMESPACE`] that names a module on the proxy's own disk.
pub const FILTER_PATH_FIELD: &str = "filter_path";

/// Where in the node's metadata Spillway's own fields are.
pub const METADATA_NAMESPACE: &str = "spillway";

/// Where a control plane listens: `HOST:PORT`, `[IPv6]:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: NonZeroU16,
}

/// The text is no `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT such as 127.0.0.1:18000, [::1]:18000 or spillway.example.com:18000, found {0:?}")]
pub struct HostPortError(String);

impl HostPort {
    /// An address, IPv6 without brackets, or a name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> NonZeroU16 {
        self.port
    }
}

/// As it is written.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let wrong = || HostPortError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            Some(_) => return Err(wrong()),
            None => host,
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
        let is_name = !host.is_empty() && host.bytes().all(plain);
        if !is_name && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// TLS to the control plane. All paths are absolute, on the proxy's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Who vouches for the control plane's certificate, PEM.
    pub ca: String,
    /// The proxy's own certificate and its key, PEM, where the control plane asks for one.
    pub certificate: Option<(String, String)>,
}

/// What differs from one proxy's bootstrap to another's.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// `node.cluster`: the Gateways with this `fleet` are served.
    pub fleet: String,
    /// `node.id`: unique among the fleet's proxies.
    pub node: String,
    /// `node.locality.zone`.
    pub zone: Option<String>,
    /// The control plane's replicas, one at least. Envoy holds one stream, and opens the next one elsewhere when it ends.
    pub xds: Vec<HostPort>,
    /// Envoy's admin interface on 127.0.0.1; none where not given.
    pub admin_port: Option<NonZeroU16>,
    /// A module on the proxy's disk, instead of the one the control plane serves.
    pub filter_path: Option<String>,
    /// How to reach the control plane; without it in plain text.
    pub tls: Option<Tls>,
    /// MiB of heap with which a proxy counts as full; it sheds load before.
    pub max_heap: NonZeroU32,
    /// Connections of clients on all listeners together; those beyond are closed as they come.
    pub max_connections: NonZeroU32,
}

impl Bootstrap {
    /// The bootstrap as JSON, which is YAML too.
    pub fn render(&self) -> Value {
        let Self { fleet, node, zone, xds, admin_port, filter_path, tls, max_heap, max_connections } = self;
        let mut envoy_node = Map::new();
        envoy_node.insert("id".into(), json!(node));
        envoy_node.insert("cluster".into(), json!(fleet));
        if let Some(zone) = zone {
            envoy_node.insert("locality".into(), json!({ "zone": zone }));
        }
        if let Some(path) = filter_path {
            let ours = json!({ METADATA_NAMESPACE: { FILTER_PATH_FIELD: path } });
            envoy_node.insert("metadata".into(), ours);
        }

        let mut bootstrap = Map::new();
        bootstrap.insert("node".into(), envoy_node.into());
        bootstrap.insert("dynamic_resources".into(), dynamic_resources());
        bootstrap.insert("cluster_manager".into(), json!({ "load_stats_config": load_reports() }));
        let control_plane = control_plane_cluster(xds, tls.as_ref());
        bootstrap.insert("static_resources".into(), json!({ "clusters": [control_plane] }));
        bootstrap.insert("stats_config".into(), json!({ "stats_tags": stats_tags() }));
        bootstrap.insert("overload_manager".into(), overload_manager(*max_heap, *max_connections));
        bootstrap.insert("layered_runtime".into(), runtime());
        if let Some(port) = admin_port {
            let address = json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
            bootstrap.insert("admin".into(), json!({ "address": address }));
        }
        bootstrap.into()
    }
}

fn dynamic_resources() -> Value {
    json!({
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{
                "envoy_grpc": {
                    "cluster_name": CONTROL_PLANE_CLUSTER,
                    // By default Envoy waits up to 30 s between attempts, and so long after an outage edits would not arrive.
                    "retry_policy": { "retry_back_off": { "base_interval": "0.25s", "max_interval": "5s" } },
                },
            }],
        },
        "lds_config": { "resource_api_version": "V3", "ads": {} },
        "cds_config": { "resource_api_version": "V3", "ads": {} },
    })
}

/// Where the proxy reports the load of its upstreams. What is reported and how often the control plane says.
fn load_reports() -> Value {
    json!({
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{ "envoy_grpc": { "cluster_name": CONTROL_PLANE_CLUSTER } }],
    })
}

fn control_plane_cluster(xds: &[HostPort], tls: Option<&Tls>) -> Value {
    let all_addresses = xds.iter().all(|replica| replica.host.parse::<IpAddr>().is_ok());
    let endpoints: Vec<Value> = xds
        .iter()
        .map(|HostPort { host, port }| {
            json!({ "endpoint": { "address": { "socket_address": { "address": host, "port_value": port } } } })
        })
        .collect();
    let mut cluster = json!({
        "name": CONTROL_PLANE_CLUSTER,
        "type": if all_addresses { "STATIC" } else { "STRICT_DNS" },
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        // A control plane whose machine has vanished sends no reset: without these a proxy would wait for edits for ever.
                        "connection_keepalive": { "interval": "10s", "timeout": "5s" },
                    },
                },
            },
        },
        "load_assignment": {
            "cluster_name": CONTROL_PLANE_CLUSTER,
            "endpoints": [{ "lb_endpoints": endpoints }],
        },
    });
    if let (Some(tls), Some(cluster)) = (tls, cluster.as_object_mut()) {
        cluster.insert("transport_socket".into(), transport_socket(xds, tls));
    }
    cluster
}

fn transport_socket(xds: &[HostPort], Tls { ca, certificate }: &Tls) -> Value {
    // Whoever the authority vouches for is not yet a control plane: the name has to be one that the proxy was told.
    let names = xds.iter().map(|HostPort { host, .. }| {
        let kind = if host.parse::<IpAddr>().is_ok() { "IP_ADDRESS" } else { "DNS" };
        json!({ "san_type": kind, "matcher": { "exact": host } })
    });
    let mut common = json!({
        "tls_params": { "tls_minimum_protocol_version": "TLSv1_2" },
        "validation_context": {
            "trusted_ca": { "filename": ca },
            "match_typed_subject_alt_names": names.collect::<Vec<_>>(),
        },
    });
    if let (Some((certificate, key)), Some(common)) = (certificate, common.as_object_mut()) {
        let pair =
            json!([{ "certificate_chain": { "filename": certificate }, "private_key": { "filename": key } }]);
        common.insert("tls_certificates".into(), pair);
    }
    let mut context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    });
    let name = xds.iter().find(|replica| replica.host.parse::<IpAddr>().is_err());
    if let (Some(HostPort { host, .. }), Some(context)) = (name, context.as_object_mut()) {
        context.insert("sni".into(), json!(host));
    }
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
}

/// The filter's metrics carry policy and rule in their names (a Wasm module can't define labels); Envoy takes them out again. Names and values take turns, as a policy may be called `rule`.
fn stats_tags() -> Value {
    let tag = |name: &str| {
        let regex = format!(r"^wasmcustom\.spillway_[a-z_]+(?:\.[^.]+\.[^.]+)*?(\.{name}\.([^.]+))");
        json!({ "tag_name": name, "regex": regex })
    };
    json!(["kind", "policy", "rule", "to", "state", "level"].map(tag))
}

/// A proxy that has too much to do gives up some of it, and goes on with the rest.
///
/// Connections beyond the bound are closed at accept, before they cost anything, so that a flood can't take the file descriptors that upstream connections and
/// the xDS stream need. As the heap fills up, first memory that is free is given back to the system, then requests are answered 503, and in the end no connection is
/// accepted until there is room again.
fn overload_manager(max_heap: NonZeroU32, max_connections: NonZeroU32) -> Value {
    const HEAP: &str = "envoy.resource_monitors.fixed_heap";
    let action = |name: &str, share: f64| {
        json!({
            "name": format!("envoy.overload_actions.{name}"),
            "triggers": [{ "name": HEAP, "threshold": { "value": share } }],
        })
    };
    json!({
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": HEAP,
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": u64::from(max_heap.get()) << 20,
                },
            },
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": max_connections,
                },
            },
        ],
        "actions": [
            action("shrink_heap", 0.9),
            action("stop_accepting_requests", 0.95),
            action("stop_accepting_connections", 0.98),
        ],
    })
}

/// What Envoy is told at start and can't be told by a listener.
fn runtime() -> Value {
    json!({
        "layers": [{
            "name": "spillway",
            "static_layer": {
                // Whatever `spillway check` accepts; by default Envoy refuses expressions of 100 letters.
                "re2.max_program_size.error_level": MAX_PROGRAM_OF_ENVOY,
                // A client that sends requests as fast as it can takes turns with the others.
                "http.max_requests_per_io_cycle": 1,
                // Spans go out once a second, or as many at a time; by default that is a call for every five.
                "tracing.opentelemetry.flush_interval_ms": 1_000,
                "tracing.opentelemetry.min_flush_spans": 256,
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bootstrap(xds: &str) -> Bootstrap {
        Bootstrap {
            fleet: "edge".into(),
            node: "edge-1".into(),
            zone: None,
            xds: xds.split(',').map(|text| text.parse().unwrap()).collect(),
            admin_port: None,
            filter_path: None,
            tls: None,
            max_heap: NonZeroU32::MIN,
            max_connections: NonZeroU32::MIN,
        }
    }

    #[test]
    fn load_is_shed_before_memory_runs_out() {
        let limits = Bootstrap { max_heap: NonZeroU32::new(3).unwrap(), ..bootstrap("127.0.0.1:1") };
        let manager = limits.render()["overload_manager"].clone();
        let monitor = |i: usize| manager["resource_monitors"][i]["typed_config"].clone();
        assert_eq!(monitor(0)["max_heap_size_bytes"], 3 << 20);
        assert_eq!(monitor(1)["max_active_downstream_connections"], 1);
        assert_eq!(manager["actions"][1]["name"], "envoy.overload_actions.stop_accepting_requests");
    }

    #[test]
    fn over_tls_a_control_plane_has_to_have_a_name_that_the_proxy_was_told() {
        let socket = |xds, certificate| {
            let tls = Some(Tls { ca: "/ca.crt".into(), certificate });
            let rendered = Bootstrap { tls, ..bootstrap(xds) }.render();
            rendered["static_resources"]["clusters"][0]["transport_socket"]["typed_config"].clone()
        };
        let plain = socket("127.0.0.1:1", None);
        let names = |socket: &Value| {
            socket["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"].clone()
        };
        assert_eq!(names(&plain), json!([{ "san_type": "IP_ADDRESS", "matcher": { "exact": "127.0.0.1" } }]));
        assert_eq!((plain.get("sni"), plain["common_tls_context"].get("tls_certificates")), (None, None));

        let mutual =
            socket("127.0.0.1:1,spillway.example.com:2", Some(("/tls.crt".into(), "/tls.key".into())));
        assert_eq!(
            names(&mutual)[1],
            json!({ "san_type": "DNS", "matcher": { "exact": "spillway.example.com" } })
        );
        assert_eq!(mutual["sni"], "spillway.example.com");
        let pair = &mutual["common_tls_context"]["tls_certificates"][0];
        assert_eq!(pair["private_key"]["filename"], "/tls.key");
        let without = bootstrap("127.0.0.1:1").render();
        assert_eq!(without["static_resources"]["clusters"][0].get("transport_socket"), None);
    }

    #[test]
    fn addresses_are_used_as_they_are_and_names_resolved() {
        let cluster = |xds| bootstrap(xds).render()["static_resources"]["clusters"][0].clone();
        assert_eq!(cluster("127.0.0.1:1,[::1]:2")["type"], "STATIC");
        assert_eq!(cluster("127.0.0.1:1,spillway.example.com:2")["type"], "STRICT_DNS");
        let ipv6 =
            &cluster("[::1]:2")["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
        assert_eq!(ipv6["socket_address"], json!({ "address": "::1", "port_value": 2 }));
    }

    #[test]
    fn what_is_not_asked_for_is_not_there() {
        let rendered = bootstrap("127.0.0.1:1").render();
        assert_eq!(rendered.get("admin"), None);
        assert_eq!(rendered["node"], json!({ "id": "edge-1", "cluster": "edge" }));

        let full = Bootstrap {
            zone: Some("a".into()),
            admin_port: NonZeroU16::new(9901),
            filter_path: Some("/opt/filter.wasm".into()),
            ..bootstrap("127.0.0.1:1")
        };
        let rendered = full.render();
        assert_eq!(rendered["admin"]["address"]["socket_address"]["port_value"], 9901);
        assert_eq!(rendered["node"]["locality"]["zone"], "a");
        assert_eq!(rendered["node"]["metadata"]["spillway"]["filter_path"], "/opt/filter.wasm");
    }

    #[test]
    fn what_is_no_host_and_port_is_refused() {
        for text in
            ["", "18000", "host", "host:", ":1", "host:0", "host:65536", "[host]:1", "a b:1", "http://h:1"]
        {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
