use envoy_types::pb::envoy::config::route::v3::{RouteMatch, route_match::PathSpecifier};
use prost::Message as _;

use super::*;
use crate::model::Model;
use crate::resource::tests::model;

const A: (&str, &str, &str) = ("Backend", "a", "{endpoints: []}");
const B: (&str, &str, &str) = ("Backend", "b", "{endpoints: []}");

fn rendered(model: &Model) -> Any {
    let listener = &model.gateways["edge"].listeners[0];
    let attachments: Vec<_> = model.routes_of("edge", listener).collect();
    let entries: Vec<_> = attachments.iter().map(|attachment| entries(listener, attachment)).collect();
    let announced = Announced { route_key: true, limits: true };
    route_config("edge/web", announced, attachments.iter().zip(entries.iter().map(Vec::as_slice)))
}

fn decoded(any: &Any) -> RouteConfiguration {
    RouteConfiguration::decode(any.value.as_slice()).unwrap()
}

/// Routes called `one`, `two` and so on, attached to one listener; each is given as what its spec has beside parentRefs.
pub(super) fn routes(specs: &[&str]) -> RouteConfiguration {
    routes_on(80, specs)
}

/// The same of a listener on a port.
pub(super) fn routes_on(port: u16, specs: &[&str]) -> RouteConfiguration {
    decoded(&any_of(port, specs))
}

fn any_of(port: u16, specs: &[&str]) -> Any {
    let gateway = format!("{{fleet: edge, listeners: [{{name: web, port: {port}, protocol: HTTP}}]}}");
    let specs: Vec<_> =
        specs.iter().map(|spec| format!("{{parentRefs: [{{name: edge}}], {spec}}}")).collect();
    let names = ["one", "two", "three", "four"];
    let routes = names.iter().zip(&specs).map(|(name, spec)| ("Route", *name, spec.as_str()));
    let others = [("Gateway", "edge", gateway.as_str()), A, B];
    rendered(&model(&others.into_iter().chain(routes).collect::<Vec<_>>()))
}

/// Hosts, each with the names of its routes in order.
fn order(config: &RouteConfiguration) -> Vec<(String, Vec<String>)> {
    let names = |host: &VirtualHost| host.routes.iter().map(|route| route.name.clone()).collect();
    config.virtual_hosts.iter().map(|host| (host.domains.join(","), names(host))).collect()
}

fn host(domain: &str, routes: &[&str]) -> (String, Vec<String>) {
    (domain.to_owned(), routes.iter().map(ToString::to_string).collect())
}

#[test]
fn the_most_specific_match_comes_first_whatever_the_order_written() {
    let refs = "backendRefs: [{name: a}]";
    let config = routes(&[&format!(
        "rules: [
            {{name: anything, {refs}}},
            {{name: short, matches: [{{path: {{value: /a}}}}], {refs}}},
            {{name: two-headers, matches: [{{path: {{value: /a}}, headers: [{{name: x, value: '1'}}, {{name: y, value: '1'}}]}}], {refs}}},
            {{name: header, matches: [{{path: {{value: /a}}, headers: [{{name: x, value: '1'}}]}}], {refs}}},
            {{name: method, matches: [{{path: {{value: /a}}, method: GET}}], {refs}}},
            {{name: long, matches: [{{path: {{value: /a/b}}}}], {refs}}},
            {{name: exact, matches: [{{path: {{type: Exact, value: /a}}}}], {refs}}}
        ]"
    )]);
    let expected =
        ["one/exact", "one/long", "one/method", "one/two-headers", "one/header", "one/short", "one/anything"];
    assert_eq!(order(&config), [host("*", &expected)]);
}

#[test]
fn equal_matches_go_by_the_names_of_routes_and_then_as_written() {
    let refs = "backendRefs: [{name: a}]";
    let with_header = |name: &str| format!("matches: [{{headers: [{{name: {name}, value: '1'}}]}}]");
    let config = routes(&[
        &format!(
            "rules: [{{name: z, {}, {refs}}}, {{name: a, {}, {refs}}}]",
            with_header("x"),
            with_header("y")
        ),
        &format!("rules: [{{name: b, {}, {refs}}}]", with_header("x")),
    ]);
    assert_eq!(order(&config), [host("*", &["one/z", "one/a", "two/b"])]);
}

#[test]
fn a_host_tries_its_own_rules_and_then_those_of_wider_hosts() {
    let rule = |name: &str, path: &str| {
        format!(
            "rules: [{{name: {name}, matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: a}}]}}]"
        )
    };
    let config = routes(&[
        &rule("every", "/long/path"),
        &format!("hostnames: ['*.example.com', shop.example.com], {}", rule("wild", "/longer/path")),
        &format!("hostnames: [shop.example.com], {}", rule("exact", "/")),
        &format!("hostnames: ['*.a.example.com'], {}", rule("deep", "/")),
    ]);
    assert_eq!(
        order(&config),
        [
            host("*", &["one/every"]),
            host("*.a.example.com", &["four/deep", "two/wild", "one/every"]),
            host("*.example.com", &["two/wild", "one/every"]),
            host("shop.example.com", &["two/wild", "three/exact", "one/every"]),
        ]
    );
}

fn conditions(matches: &str) -> Vec<RouteMatch> {
    let config =
        routes(&[&format!("rules: [{{name: api, matches: [{matches}], backendRefs: [{{name: a}}]}}]")]);
    config.virtual_hosts[0].routes.iter().map(|route| route.r#match.clone().unwrap()).collect()
}

#[test]
fn a_prefix_matches_whole_path_elements() {
    let path = |path: &str| conditions(&format!("{{path: {path}}}"))[0].path_specifier.clone().unwrap();
    assert_eq!(path("{value: /orders}"), PathSpecifier::PathSeparatedPrefix("/orders".into()));
    assert_eq!(path("{value: /orders/}"), PathSpecifier::PathSeparatedPrefix("/orders".into()));
    assert_eq!(path("{value: /}"), PathSpecifier::Prefix("/".into()));
    assert_eq!(conditions("{method: GET}")[0].path_specifier, Some(PathSpecifier::Prefix("/".into())));
    assert_eq!(path("{type: Exact, value: /orders/}"), PathSpecifier::Path("/orders/".into()));
    assert_eq!(
        path("{type: RegularExpression, value: '/o.*'}"),
        PathSpecifier::SafeRegex(matching::regex("/o.*"))
    );
}

#[test]
fn everything_that_a_match_asks_is_asked() {
    let found = &conditions(
        "{method: GET, headers: [{name: X-Env, value: Prod}, {name: x-b, value: 'c+', type: RegularExpression}], \
          queryParams: [{name: v, value: '2'}, {name: W, value: '[0-9]', type: RegularExpression}]}",
    )[0];
    let named: Vec<_> = found.headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(named, [":method", "x-env", "x-b"]);
    assert_eq!(found.headers[0], matching::header(":method", matching::exactly("GET")));
    assert_eq!(found.headers[1], matching::header("x-env", matching::exactly("Prod")));
    let text = format!("{:?} {:?}", found.headers[2], found.query_parameters);
    assert!(text.contains("SafeRegex") && text.contains("\"c+\"") && text.contains("\"[0-9]\""), "{text}");
    let named: Vec<_> = found.query_parameters.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(named, ["v", "W"]);
    assert_eq!(found.grpc, None);
}

#[test]
fn grpc_calls_are_paths_of_grpc_requests() {
    let found = conditions(
        "{grpc: {method: Place}}, {grpc: {service: shop.Orders}}, {grpc: {service: shop.Orders, method: Place}}",
    );
    assert!(found.iter().all(|one| one.grpc.is_some()));
    let paths: Vec<_> = found.into_iter().map(|one| one.path_specifier.unwrap()).collect();
    assert_eq!(
        paths,
        [
            PathSpecifier::Path("/shop.Orders/Place".into()),
            PathSpecifier::SafeRegex(matching::regex("/[^/]+/Place")),
            PathSpecifier::PathSeparatedPrefix("/shop.Orders".into()),
        ]
    );
}

#[test]
fn expressions_stand_between_exact_paths_and_prefixes() {
    let refs = "backendRefs: [{name: a}]";
    let config = routes(&[&format!(
        "rules: [
            {{name: prefix, matches: [{{path: {{value: /a/long/path/of/many/elements}}}}], {refs}}},
            {{name: short, matches: [{{path: {{type: RegularExpression, value: '/.*'}}}}], {refs}}},
            {{name: long, matches: [{{path: {{type: RegularExpression, value: '/a.*'}}}}], {refs}}},
            {{name: query, matches: [{{queryParams: [{{name: a, value: b}}]}}], {refs}}},
            {{name: queries, matches: [{{queryParams: [{{name: a, value: b}}, {{name: c, value: d}}]}}], {refs}}},
            {{name: header, matches: [{{headers: [{{name: a, value: b}}]}}], {refs}}},
            {{name: rest, {refs}}},
            {{name: exact, matches: [{{path: {{type: Exact, value: /}}}}], {refs}}}
        ]"
    )]);
    let names = ["exact", "long", "short", "prefix", "header", "queries", "query", "rest"];
    let names = names.map(|name| format!("one/{name}"));
    assert_eq!(order(&config), [host("*", &names.each_ref().map(String::as_str))]);
}

/// So many routes on paths of their own, and one for everything else.
pub(super) fn many_routes(count: usize) -> RouteConfiguration {
    decoded(&rendered_many(count))
}

/// The same as it is sent.
pub(super) fn rendered_many(count: usize) -> Any {
    let rule = |n: usize| {
        format!("{{name: r{n}, matches: [{{path: {{value: /service-{n}}}}}], backendRefs: [{{name: a}}]}}")
    };
    let rules: Vec<_> = (0..count).map(rule).collect();
    any_of(80, &[&format!("rules: [{}, {{name: rest, backendRefs: [{{name: b}}]}}]", rules.join(", "))])
}
