//! A Gateway's listeners, with the HTTP connection manager that stands behind each.
//!
//! The limits follow Envoy's guidance for proxies at the edge ("Configuring Envoy as an edge proxy"): every peer is untrusted, and what is
//! ambiguous is refused rather than passed on, because a policy and an upstream that read a request differently are a way around the policy.

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{
    HeaderMutation as Mutation, header_mutation::Action, header_mutation::RemoveOnMatch,
};
use envoy_types::pb::envoy::config::core::v3::{
    CidrRange, ExtensionConfigSource, Http2ProtocolOptions, HttpProtocolOptions,
    http_protocol_options::HeadersWithUnderscoresAction,
};
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds,
    http_connection_manager::{
        InternalAddressConfig, PathWithEscapedSlashesAction, RouteSpecifier, ServerHeaderTransformation,
    },
    http_filter,
};
use envoy_types::pb::envoy::extensions::http::early_header_mutation::header_mutation::v3::HeaderMutation;
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use prost::Name;

use super::access_log::access_log;
use super::extension_config;
use super::route::ROUTE_KEY_HEADER;
use super::{any, boolean, duration, extension, over_ads_without_timeout, socket_address, uint32};
use crate::document::kind;

/// Reserved for what the filter says about a request; requests that arrive with such headers lose them.
const RESERVED_HEADERS: &str = "x-spillway-";

/// A connection without active streams is closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// A stream on which nothing moves is ended after this.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// From the first byte of a request to the end of its headers.
const REQUEST_HEADERS_TIMEOUT: Duration = Duration::from_secs(10);

/// All headers of a request together.
const MAX_REQUEST_HEADERS_KIB: u32 = 60;

/// HTTP/2: at once on one connection.
const MAX_CONCURRENT_STREAMS: u32 = 100;

const STREAM_WINDOW: u32 = 64 * 1_024;
const CONNECTION_WINDOW: u32 = 1_024 * 1_024;
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

/// One listener of a Gateway that Envoys listen on.
pub fn listener(gateway: &str, listener: &kind::Listener) -> Listener {
    let manager = connection_manager(gateway, listener);
    Listener {
        name: resource_name(listener),
        address: Some(socket_address(listener.address, listener.port.get())),
        per_connection_buffer_limit_bytes: Some(uint32(BUFFER_LIMIT)),
        filter_chains: vec![FilterChain {
            // Policies that target a listener ask for this name.
            name: listener.name.clone(),
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(any(&manager))),
            }],
            ..FilterChain::default()
        }],
        ..Listener::default()
    }
}

fn connection_manager(gateway: &str, listener: &kind::Listener) -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: format!("{gateway}/{}", listener.name),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(over_ads_without_timeout()),
            route_config_name: route_config_name(listener),
        })),
        http_filters: vec![protection(gateway), router()],
        access_log: listener.access_log.then(access_log).into_iter().collect(),
        early_header_mutation_extensions: vec![extension(
            "spillway.reserved_headers",
            &without_reserved_headers(),
        )],
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(duration(IDLE_TIMEOUT)),
            // Many upstreams read `x_route_key` and `x-route-key` as the same header.
            headers_with_underscores_action: HeadersWithUnderscoresAction::RejectRequest.into(),
            ..HttpProtocolOptions::default()
        }),
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: Some(uint32(MAX_CONCURRENT_STREAMS)),
            initial_stream_window_size: Some(uint32(STREAM_WINDOW)),
            initial_connection_window_size: Some(uint32(CONNECTION_WINDOW)),
            ..Http2ProtocolOptions::default()
        }),
        max_request_headers_kb: Some(uint32(MAX_REQUEST_HEADERS_KIB)),
        request_headers_timeout: Some(duration(REQUEST_HEADERS_TIMEOUT)),
        stream_idle_timeout: Some(duration(STREAM_IDLE_TIMEOUT)),
        use_remote_address: Some(boolean(true)),
        // Nobody is internal: what a client says in x-envoy-* headers is not believed, wherever it connects from.
        internal_address_config: Some(nobody()),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        // What is matched is what the upstream gets: `/a/../b`, `//b` and `/a%2Fb` reach no rule under a name that the upstream
        // would read as another. An escaped slash is answered with a redirect to the plain path.
        normalize_path: Some(boolean(true)),
        merge_slashes: true,
        path_with_escaped_slashes_action: PathWithEscapedSlashesAction::UnescapeAndRedirect.into(),
        strip_trailing_host_dot: true,
        ..HttpConnectionManager::default()
    }
}

/// A range that no client connects from. An empty list would mean all private addresses and loopback.
fn nobody() -> InternalAddressConfig {
    let broadcast = CidrRange { address_prefix: "255.255.255.255".to_owned(), prefix_len: Some(uint32(32)) };
    InternalAddressConfig { unix_sockets: false, cidr_ranges: vec![broadcast] }
}

/// Spillway's filter. Its configuration is not optional: without one the listener does not come up, and requests are never let through
/// unprotected.
fn protection(gateway: &str) -> HttpFilter {
    HttpFilter {
        name: extension_config::name(gateway),
        config_type: Some(http_filter::ConfigType::ConfigDiscovery(ExtensionConfigSource {
            config_source: Some(over_ads_without_timeout()),
            type_urls: vec![Wasm::type_url()],
            ..ExtensionConfigSource::default()
        })),
        ..HttpFilter::default()
    }
}

pub(super) fn router() -> HttpFilter {
    HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(&Router::default()))),
        ..HttpFilter::default()
    }
}

/// Takes headers away that only this proxy may set, before anything is matched.
fn without_reserved_headers() -> HeaderMutation {
    let reserved = StringMatcher {
        match_pattern: Some(MatchPattern::Prefix(RESERVED_HEADERS.to_owned())),
        ..StringMatcher::default()
    };
    HeaderMutation {
        mutations: [
            Action::Remove(ROUTE_KEY_HEADER.to_owned()),
            Action::RemoveOnMatch(RemoveOnMatch { key_matcher: Some(reserved) }),
        ]
        .map(|action| Mutation { action: Some(action) })
        .into(),
    }
}
