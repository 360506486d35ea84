//! A Gateway's listeners: what accepts connections, bounds them, and hands them on.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::listener::v3::{
    Filter, FilterChain, Listener, ListenerFilter, filter, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use envoy_types::pb::envoy::extensions::filters::network::connection_limit::v3::ConnectionLimit;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::Tracing;
use envoy_types::pb::google::protobuf::UInt64Value;
use prost::{Message, Name};

use super::{any, duration, socket_address, tls, uint32};
use crate::document::kind::{self, Protocol};
use crate::model::Attachment;

mod http;
mod local_reply;
mod tcp;

pub(super) use self::http::router;

/// Envoy's edge guidance: bounds the memory of a connection whose reader is slow.
const BUFFER_LIMIT: u32 = 32 * 1_024;

/// The name of the resource: the address it listens on.
///
/// Not the listener's name: a listener that is renamed, or moves to another Gateway of the fleet, keeps its socket and its resource is
/// changed in place, instead of one being removed and another added on the same address.
pub fn resource_name(listener: &kind::Listener) -> String {
    match (listener.protocol, &listener.hostname) {
        // What its clients ask for.
        (kind::Protocol::Proxyless, Some(host)) => host.clone(),
        _ => SocketAddr::new(listener.address, listener.port.get()).to_string(),
    }
}

/// The name of the route configuration of one listener: the same again, so that the connections of a listener that has been renamed follow
/// its routes until they are drained.
pub fn route_config_name(listener: &kind::Listener) -> String {
    resource_name(listener)
}

/// One listener of a Gateway that Envoys listen on. Spans are of requests: where connections are passed on, `tracing` is of no use.
pub fn listener(
    gateway: &str,
    listener: &kind::Listener,
    attachments: &[Attachment<'_>],
    tracing: Option<Tracing>,
) -> Listener {
    let patience = duration(listener.limits.request_headers_timeout.get());
    let last = match listener.protocol {
        Protocol::Tcp | Protocol::Tls => tcp::proxy(gateway, listener, attachments),
        Protocol::Http | Protocol::Https | Protocol::Proxyless => {
            let manager = http::connection_manager(gateway, listener, attachments, tracing);
            filter("http_connection_manager", &manager)
        }
    };
    let transport_socket = tls::downstream(listener);
    Listener {
        name: resource_name(listener),
        address: Some(socket_address(listener.address, listener.port.get())),
        per_connection_buffer_limit_bytes: Some(uint32(BUFFER_LIMIT)),
        listener_filters: listener
            .client_address
            .proxy_protocol
            .then(proxy_protocol)
            .into_iter()
            .chain(tls::inspector(listener))
            .collect(),
        listener_filters_timeout: Some(patience),
        filter_chains: vec![FilterChain {
            // Policies that target a listener ask for this name.
            name: listener.name.clone(),
            filters: vec![connection_limit(gateway, listener), last],
            transport_socket_connect_timeout: transport_socket.is_some().then_some(patience),
            transport_socket,
            ..FilterChain::default()
        }],
        ..Listener::default()
    }
}

/// Where figures about a listener stand.
fn stat_prefix(gateway: &str, listener: &kind::Listener) -> String {
    format!("{gateway}/{}", listener.name)
}

fn filter<M: Message + Name>(name: &str, config: &M) -> Filter {
    Filter {
        name: format!("envoy.filters.network.{name}"),
        config_type: Some(filter::ConfigType::TypedConfig(any(config))),
    }
}

/// Counts the connections of all workers, and closes those beyond the limit before anything else is done for them.
fn connection_limit(gateway: &str, listener: &kind::Listener) -> Filter {
    let limit = ConnectionLimit {
        stat_prefix: stat_prefix(gateway, listener),
        max_connections: Some(UInt64Value { value: listener.limits.max_connections.get().into() }),
        ..ConnectionLimit::default()
    };
    filter("connection_limit", &limit)
}

/// Takes the client's address from the first line of a connection. Whoever may connect can say anything there, so without such a line nobody may.
fn proxy_protocol() -> ListenerFilter {
    let config = ProxyProtocol { allow_requests_without_proxy_protocol: false, ..ProxyProtocol::default() };
    ListenerFilter {
        name: "envoy.filters.listener.proxy_protocol".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(any(&config))),
        ..ListenerFilter::default()
    }
}

#[cfg(test)]
mod tests;
