//! The HTTP connection manager that stands behind a listener.
//!
//! The limits follow Envoy's guidance for proxies at the edge ("Configuring Envoy as an edge proxy"): every peer is untrusted, and what is
//! ambiguous is refused rather than passed on, because a policy and an upstream that read a request differently are a way around the policy.

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{
    HeaderMutation as Mutation, header_mutation::Action, header_mutation::RemoveOnMatch,
};
use envoy_types::pb::envoy::config::core::v3::{
    CidrRange, ExtensionConfigSource, Http2ProtocolOptions, HttpProtocolOptions,
    http_protocol_options::HeadersWithUnderscoresAction,
};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::HeaderMutation as HeaderMutationFilter;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds,
    http_connection_manager::{
        InternalAddressConfig, PathWithEscapedSlashesAction, RouteSpecifier, ServerHeaderTransformation,
        Tracing,
    },
    http_filter,
};
use envoy_types::pb::envoy::extensions::http::early_header_mutation::header_mutation::v3::HeaderMutation;
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use prost::Name;

use super::local_reply::local_replies;
use super::route_config_name;
use crate::document::kind::{Limits, Listener};
use crate::model::Attachment;
use crate::resource::access_log::access_log;
use crate::resource::route::{ROUTE_KEY_HEADER, affinity};
use crate::resource::tracing::from_b3;
use crate::resource::{
    any, boolean, duration, extension, extension_config, over_ads_without_timeout, tls, uint32,
};

/// Reserved for what the filter says about a request; requests that arrive with such headers lose them.
const RESERVED_HEADERS: &str = "x-spillway-";

const STREAM_WINDOW: u32 = 64 * 1_024;
const CONNECTION_WINDOW: u32 = 1_024 * 1_024;

/// The connection manager of a listener; `by_key` if some route of it is chosen by the route key.
pub(super) fn connection_manager(
    gateway: &str,
    listener: &Listener,
    attachments: &[Attachment<'_>],
    tracing: Option<Tracing>,
) -> HttpConnectionManager {
    let Limits {
        max_connections: _, // by a filter of its own
        idle_timeout,
        request_headers_timeout,
        request_timeout,
        max_request_headers,
        max_concurrent_streams,
    } = &listener.limits;
    let (forward_client_cert_details, set_current_client_cert_details) = tls::client_certificate(listener);
    HttpConnectionManager {
        stat_prefix: format!("{gateway}/{}", listener.name),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(over_ads_without_timeout()),
            route_config_name: route_config_name(listener),
        })),
        http_filters: http_filters(gateway, attachments),
        access_log: listener.access_log.then(access_log).into_iter().collect(),
        local_reply_config: Some(local_replies()),
        early_header_mutation_extensions: vec![extension(
            "spillway.reserved_headers",
            &early_mutations(tracing.is_some()),
        )],
        tracing,
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(duration(idle_timeout.get())),
            // Many upstreams read `x_route_key` and `x-route-key` as the same header.
            headers_with_underscores_action: HeadersWithUnderscoresAction::RejectRequest.into(),
            ..HttpProtocolOptions::default()
        }),
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: Some(uint32(max_concurrent_streams.get())),
            initial_stream_window_size: Some(uint32(STREAM_WINDOW)),
            initial_connection_window_size: Some(uint32(CONNECTION_WINDOW)),
            // WebSockets over HTTP/2 (RFC 8441). What a route does not allow stays refused, and so is plain CONNECT, which no route matches.
            allow_connect: true,
            ..Http2ProtocolOptions::default()
        }),
        max_request_headers_kb: Some(uint32(max_request_headers.get())),
        request_headers_timeout: Some(duration(request_headers_timeout.get())),
        stream_idle_timeout: Some(duration(idle_timeout.get())),
        request_timeout: Some(duration(request_timeout.get())),
        // The one truth about whom a request comes from: what this finds is what the filter, hash policies and logs are told.
        use_remote_address: Some(boolean(true)),
        xff_num_trusted_hops: listener.client_address.trusted_hops.get(),
        // Nobody is internal: what a client says in x-envoy-* headers is not believed, wherever it connects from.
        internal_address_config: Some(nobody()),
        forward_client_cert_details: forward_client_cert_details.into(),
        set_current_client_cert_details,
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        // What is matched is what the upstream gets: `/a/../b`, `//b` and `/a%2Fb` reach no rule under a name that the upstream
        // would read as another.
        normalize_path: Some(boolean(true)),
        merge_slashes: true,
        path_with_escaped_slashes_action: PathWithEscapedSlashesAction::RejectRequest.into(),
        strip_trailing_host_dot: true,
        ..HttpConnectionManager::default()
    }
}

/// A range that no client connects from. An empty list would mean all private addresses and loopback.
fn nobody() -> InternalAddressConfig {
    let broadcast = CidrRange { address_prefix: "255.255.255.255".to_owned(), prefix_len: Some(uint32(32)) };
    InternalAddressConfig { unix_sockets: false, cidr_ranges: vec![broadcast] }
}

/// Where a route is chosen by the key, the key has to be known before, and what protects has to know the route. So one instance of the filter says what the key is, and a filter
/// of Envoy's own, which is asked to do nothing, asks for the route; without that the second instance would still be told the first choice.
fn http_filters(gateway: &str, attachments: &[Attachment<'_>]) -> Vec<HttpFilter> {
    let asks_for_route = HttpFilter {
        name: "envoy.filters.http.header_mutation".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(&HeaderMutationFilter::default()))),
        ..HttpFilter::default()
    };
    let by_key = attachments.iter().any(Attachment::matches_on_key);
    let before = by_key.then(|| [discovered(extension_config::key_name(gateway)), asks_for_route]);
    let protection = discovered(extension_config::name(gateway));
    let sessions = affinity::keeps_sessions(attachments).then(affinity::session_filter);
    before.into_iter().flatten().chain([protection]).chain(sessions).chain([router()]).collect()
}

/// Spillway's filter. Its configuration is not optional: without one the listener does not come up, and requests are never let through
/// unprotected.
fn discovered(name: String) -> HttpFilter {
    HttpFilter {
        name,
        config_type: Some(http_filter::ConfigType::ConfigDiscovery(ExtensionConfigSource {
            config_source: Some(over_ads_without_timeout()),
            type_urls: vec![Wasm::type_url()],
            ..ExtensionConfigSource::default()
        })),
        ..HttpFilter::default()
    }
}

pub(in crate::resource) fn router() -> HttpFilter {
    HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(&Router::default()))),
        ..HttpFilter::default()
    }
}

/// Takes headers away that only this proxy may set, before anything is matched; and where spans are recorded, finds what they are part of.
fn early_mutations(traced: bool) -> HeaderMutation {
    let reserved = StringMatcher {
        match_pattern: Some(MatchPattern::Prefix(RESERVED_HEADERS.to_owned())),
        ..StringMatcher::default()
    };
    let without = [
        Action::Remove(ROUTE_KEY_HEADER.to_owned()),
        Action::RemoveOnMatch(RemoveOnMatch { key_matcher: Some(reserved) }),
    ];
    let without = without.map(|action| Mutation { action: Some(action) });
    let parents = traced.then(from_b3).into_iter().flatten();
    HeaderMutation { mutations: without.into_iter().chain(parents).collect() }
}
