//! Listeners for gRPC clients that speak xDS and send their calls to the endpoints themselves, without a proxy in between.
//!
//! What such clients understand is less than what Envoy does: gRFC A27 (`xds:///` targets), A28 (matching and weighted clusters), A31
//! (timeouts) and A44 (retries). Filters other than the router are left out, because a client refuses what it does not know; what documents must not ask
//! of such a listener is checked when they are read.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::{
    ApiVersion, ConfigSource, SelfConfigSource, config_source::ConfigSourceSpecifier,
};
use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Listener};
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route::Action,
    route_action::MaxStreamDuration, route_match::PathSpecifier,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, Rds, http_connection_manager::RouteSpecifier,
};
use envoy_types::pb::google::protobuf::Duration;

use super::any;
use super::listener::{resource_name, router};
use super::over_ads_without_timeout;
use super::route::{candidates, hosts, route};
use crate::document::kind;
use crate::model::Attachment;

/// The names that a client may ask for: with `xds:///shop.example.com` and with `xds:///shop.example.com:8080`.
pub fn names(listener: &kind::Listener) -> [String; 2] {
    let host = resource_name(listener);
    let with_port = format!("{host}:{}", listener.port);
    [host, with_port]
}

/// The listener that a client gets under one of its [`names`].
pub fn listener(name: &str, listener: &kind::Listener) -> Listener {
    let manager = HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(over_ads_without_timeout()),
            route_config_name: resource_name(listener),
        })),
        http_filters: vec![router()],
        ..HttpConnectionManager::default()
    };
    Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener { api_listener: Some(any(&manager)) }),
        ..Listener::default()
    }
}

/// A cluster whose clients report their load where they got it from. An Envoy does so because its bootstrap says it, and passes over this.
pub fn reported(cluster: Cluster) -> Cluster {
    let lrs_server = ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Self_(SelfConfigSource::default())),
        ..ConfigSource::default()
    };
    Cluster { lrs_server: Some(lrs_server), ..cluster }
}

/// Its routes, as a list: clients know no other form.
pub fn route_config(listener: &kind::Listener, attachments: &[Attachment<'_>]) -> RouteConfiguration {
    let hosts = hosts(attachments);
    let virtual_hosts = hosts.names().map(|host| VirtualHost {
        name: host.to_owned(),
        // A client looks for its target as it was written.
        domains: vec![host.to_owned(), format!("{host}:{}", listener.port)],
        routes: candidates(host, &hosts).iter().map(|one| understood(route(listener, one))).collect(),
        ..VirtualHost::default()
    });
    RouteConfiguration {
        name: resource_name(listener),
        virtual_hosts: virtual_hosts.collect(),
        ..RouteConfiguration::default()
    }
}

/// The same route in the words that clients know. Every path of a call is `/service/method`, so a prefix by path element is the prefix of
/// a service's calls, or one method.
fn understood(route: Route) -> Route {
    let matching = route.r#match.map(|matching| RouteMatch {
        path_specifier: matching.path_specifier.map(|path| match path {
            PathSpecifier::PathSeparatedPrefix(path) => match path.matches('/').count() {
                1 => PathSpecifier::Prefix(format!("{path}/")),
                _ => PathSpecifier::Path(path),
            },
            PathSpecifier::Prefix(path) if path == "/" => PathSpecifier::Prefix(String::new()),
            other => other,
        }),
        // All that they send is gRPC.
        grpc: None,
        ..matching
    });
    let action = route.action.map(|action| match action {
        // To a client a timeout is the longest that a call may last.
        Action::Route(action) => Action::Route(RouteAction {
            max_stream_duration: action.timeout.filter(|time| *time != Duration::default()).map(|time| {
                MaxStreamDuration { max_stream_duration: Some(time), ..MaxStreamDuration::default() }
            }),
            ..action
        }),
        other => other,
    });
    Route { r#match: matching, action, ..route }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::tests::model;

    const GATEWAY: &str =
        "{fleet: shop, listeners: [{name: orders, port: 8080, protocol: Proxyless, hostname: orders.shop}]}";
    const ROUTE: &str = "{parentRefs: [{name: shop}], rules: [\
        {name: place, matches: [{path: {value: /shop.Orders/Place}}], backendRefs: [{name: v1, weight: 3}, {name: v2, weight: 1}]},\
        {name: service, matches: [{path: {value: /shop.Orders}}], backendRefs: [{name: v1}]},\
        {name: rest, backendRefs: [{name: v2}]}]}";
    const BACKEND: &str = "{protocol: GRPC, endpoints: [{address: 10.0.0.1, port: 1}]}";

    #[test]
    fn a_client_gets_prefixes_and_paths_that_it_knows_in_the_order_of_precedence() {
        let documents = [
            ("Gateway", "shop", GATEWAY),
            ("Route", "orders", ROUTE),
            ("Backend", "v1", BACKEND),
            ("Backend", "v2", BACKEND),
        ];
        let model = model(&documents);
        let one = &model.gateways["shop"].listeners[0];
        assert_eq!(names(one), ["orders.shop", "orders.shop:8080"]);
        let config = route_config(one, &model.routes_of("shop", one).collect::<Vec<_>>());
        let [host] = &config.virtual_hosts[..] else { panic!("{config:?}") };
        assert_eq!(host.domains, ["orders.shop", "orders.shop:8080"]);
        assert!(host.matcher.is_none());
        let paths = host.routes.iter().map(|route| {
            (route.name.as_str(), route.r#match.as_ref().unwrap().path_specifier.clone().unwrap())
        });
        assert_eq!(
            paths.collect::<Vec<_>>(),
            [
                ("orders/place", PathSpecifier::Path("/shop.Orders/Place".into())),
                ("orders/service", PathSpecifier::Prefix("/shop.Orders/".into())),
                ("orders/rest", PathSpecifier::Prefix(String::new())),
            ]
        );
    }

    #[test]
    fn a_client_gets_no_filter_but_the_router() {
        let model = model(&[("Gateway", "shop", GATEWAY)]);
        let one = &model.gateways["shop"].listeners[0];
        let listener = listener("orders.shop", one);
        assert!(listener.address.is_none() && listener.filter_chains.is_empty());
        let manager = listener.api_listener.unwrap().api_listener.unwrap();
        let manager: HttpConnectionManager = prost::Message::decode(&*manager.value).unwrap();
        let names: Vec<_> = manager.http_filters.iter().map(|filter| filter.name.as_str()).collect();
        assert_eq!(names, ["envoy.filters.http.router"]);
    }
}
