use super::*;
use crate::model::Model;
use crate::resource::tests::model;

const EDGE: (&str, &str, &str) =
    ("Gateway", "edge", "{fleet: edge, listeners: [{name: web, port: 80, protocol: HTTP}]}");
const A: (&str, &str, &str) = ("Backend", "a", "{endpoints: []}");
const B: (&str, &str, &str) = ("Backend", "b", "{endpoints: []}");

fn rendered(model: &Model) -> RouteConfiguration {
    let listener = &model.gateways["edge"].listeners[0];
    let attachments: Vec<_> = model.routes_of("edge", listener).collect();
    route_config("edge/web", &attachments)
}

/// Routes called `one`, `two` and so on, attached to [`EDGE`]; each is given as what its spec has beside parentRefs.
fn routes(specs: &[&str]) -> RouteConfiguration {
    let specs: Vec<_> =
        specs.iter().map(|spec| format!("{{parentRefs: [{{name: edge}}], {spec}}}")).collect();
    let names = ["one", "two", "three", "four"];
    let routes = names.iter().zip(&specs).map(|(name, spec)| ("Route", *name, spec.as_str()));
    rendered(&model(&[EDGE, A, B].into_iter().chain(routes).collect::<Vec<_>>()))
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

#[test]
fn a_prefix_matches_whole_path_elements() {
    let path = |value: &str| {
        path_specifier(Some(&PathMatch { kind: PathMatchKind::PathPrefix, value: value.into() }))
    };
    assert_eq!(path("/orders"), PathSpecifier::PathSeparatedPrefix("/orders".into()));
    assert_eq!(path("/orders/"), PathSpecifier::PathSeparatedPrefix("/orders".into()));
    assert_eq!(path("/"), PathSpecifier::Prefix("/".into()));
    assert_eq!(path_specifier(None), PathSpecifier::Prefix("/".into()));
    let exact = PathMatch { kind: PathMatchKind::Exact, value: "/orders/".into() };
    assert_eq!(path_specifier(Some(&exact)), PathSpecifier::Path("/orders/".into()));
}

fn first_action(backend_refs: &str) -> Action {
    let config = routes(&[&format!("rules: [{{name: api, backendRefs: [{backend_refs}]}}]")]);
    config.virtual_hosts[0].routes[0].action.clone().unwrap()
}

#[test]
fn traffic_is_split_by_weight() {
    let Action::Route(action) = first_action("{name: a, weight: 70}, {name: b, weight: 30}") else {
        panic!()
    };
    let Some(ClusterSpecifier::WeightedClusters(split)) = action.cluster_specifier else { panic!() };
    let weights: Vec<_> = split.clusters.iter().map(|one| (&*one.name, one.weight.unwrap().value)).collect();
    assert_eq!(weights, [("a", 70), ("b", 30)]);

    let Action::Route(action) = first_action("{name: a, weight: 0}, {name: b, weight: 5}") else { panic!() };
    assert_eq!(action.cluster_specifier, Some(ClusterSpecifier::Cluster("b".into())));
}

#[test]
fn a_rule_without_weight_answers_for_itself() {
    let Action::DirectResponse(response) = first_action("{name: a, weight: 0}, {name: b, weight: 0}") else {
        panic!()
    };
    assert_eq!(response.status, 500);
}

#[test]
fn headers_are_compared_in_lower_case_and_the_method_is_one() {
    let config =
        routes(&["rules: [{name: api, matches: [{method: GET, headers: [{name: X-Env, value: Prod}]}], \
                           backendRefs: [{name: a}]}]"]);
    let matched = config.virtual_hosts[0].routes[0].r#match.clone().unwrap();
    assert_eq!(matched.headers, [exactly(":method", "GET"), exactly("x-env", "Prod")]);
}

/// So many routes on paths of their own, and one for everything else.
pub(super) fn many_routes(count: usize) -> RouteConfiguration {
    let rule = |n: usize| {
        format!("{{name: r{n}, matches: [{{path: {{value: /service-{n}}}}}], backendRefs: [{{name: a}}]}}")
    };
    let rules: Vec<_> = (0..count).map(rule).collect();
    routes(&[&format!("rules: [{}, {{name: rest, backendRefs: [{{name: b}}]}}]", rules.join(", "))])
}
