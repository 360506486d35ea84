use clap::Parser;

use super::*;
use crate::document::read;

const DOCUMENTS: &str = "
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: edge}
spec:
  fleet: edge
  listeners:
    - {name: web, address: 127.0.0.1, port: 10000, protocol: HTTP}
---
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: mesh}
spec: {fleet: mesh}
---
apiVersion: spillway.dev/v1
kind: Route
metadata: {name: orders}
spec:
  parentRefs: [{name: edge}]
  hostnames: [orders.example.com]
  rules:
    - {name: api, matches: [{path: {value: /orders}}], backendRefs: [{name: v1, weight: 70}, {name: v2, weight: 30}]}
    - {name: gone, matches: [{path: {value: /gone}}], backendRefs: [{name: v1, weight: 0}]}
    - {name: old, matches: [{path: {value: /old}}], filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /orders}, statusCode: 308}}]}
    - {name: soon, matches: [{path: {value: /soon}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]}
---
apiVersion: spillway.dev/v1
kind: Backend
metadata: {name: v1}
spec: {endpoints: []}
---
apiVersion: spillway.dev/v1
kind: Backend
metadata: {name: v2}
spec: {endpoints: []}
---
apiVersion: spillway.dev/v1
kind: TrafficPolicy
metadata: {name: care}
spec:
  targetRefs: [{kind: Route, name: orders, sectionName: api}]
  routeKey: [{template: '/orders/{tenant}/**', key: '{tenant}'}, {clientAddress: {prefix: 24}}]
  rateLimits:
    - {name: tenants, key: [routeKey], rate: 100/s, burst: 200}
    - {name: dear, rate: 1/m, cost: 0, mode: shadow, when: [{method: DELETE}]}
  circuitBreakers:
    - {name: health, key: [backend], window: 10s, minRequests: 20, trip: {errorRatio: 50%}, openFor: 30s, probes: 5}
---
apiVersion: spillway.dev/v1
kind: TrafficPolicy
metadata: {name: everything}
spec:
  targetRefs: [{kind: Gateway, name: edge}, {kind: Gateway, name: mesh}]
  rateLimits: [{name: total, rate: 1000/s}]
";

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    explain: Explain,
}

fn explain(arguments: &[&str]) -> anyhow::Result<Vec<Explanation>> {
    let line = ["explain", "--config", "unused"].iter().chain(arguments);
    let Line { explain } = Line::try_parse_from(line)?;
    let model =
        Model::build([read("f.yaml", DOCUMENTS.as_bytes())]).unwrap_or_else(|errors| panic!("{errors:?}"));
    let mut request = Request::parse(&explain.request, &explain.headers)?;
    request.client_address = Some(explain.client_address.to_string());
    explain.explain(&model, &request)
}

fn text(arguments: &[&str]) -> String {
    explain(arguments).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn route_key_and_rules_are_shown_in_order() {
    let shown = text(&["--fleet", "edge", "--request", "GET https://orders.example.com/orders/acme?x=1"]);
    let expected = "\
request    GET orders.example.com/orders/acme?x=1
gateway    edge, listener web at 127.0.0.1:10000
route      orders/api (host orders.example.com, path prefix /orders)
backend    v1 (weight 70, asked about here)
backend    v2 (weight 30)
route key  acme (from care)

#   KIND              RULE               KEY    MODE      VERDICT   SAYS
1   circuit-breaker   care/health        v1     enforce   passes    closed
2   rate-limit        care/tenants       acme   enforce   passes    takes 1 of 200 tokens (a full bucket holds 200)
3   rate-limit        care/dear          -      shadow    passes    is about other requests
4   rate-limit        everything/total   -      enforce   passes    takes 1 of 1000 tokens (a full bucket holds 1000)

outcome    admitted to v1
";
    assert_eq!(shown, expected);
}

#[test]
fn flags_describe_what_a_url_cannot() {
    let url = "http://orders.example.com/orders";
    let arguments =
        ["--fleet", "edge", "--client-address", "192.0.2.77", "--backend", "v2", "--request", url];
    let explanations = explain(&arguments).unwrap();
    let json = serde_json::to_value(&explanations[0]).unwrap();
    assert_eq!(json["routeKey"], serde_json::json!({"policy": "care", "value": "192.0.2.0/24"}));
    assert_eq!(json["rules"][0]["key"], "v2");
    assert_eq!(json["outcome"], serde_json::json!({"result": "admitted", "backend": "v2"}));
    assert_eq!((&json["gateway"], &json["listener"]), (&"edge".into(), &"web".into()));
}

#[test]
fn what_envoy_answers_itself_is_told() {
    let outcome = |path: &str| {
        let url = format!("http://orders.example.com{path}");
        let shown = text(&["--fleet", "edge", "--request", &url]);
        shown.lines().last().unwrap().trim_start_matches("outcome").trim_start().to_owned()
    };
    assert_eq!(outcome("/nothing"), "answered with 404: no rule matches");
    assert_eq!(outcome("/gone"), "answered with 500: no backend of the rule has a weight above 0");
    assert_eq!(outcome("/old/1"), "answered with 308: the rule redirects");
    assert_eq!(outcome("/soon"), "answered with 302: the rule redirects");
    assert_eq!(outcome("/orders%2Facme"), "answered with 400: the path has an escaped slash");
    // Policies of the whole Gateway are asked about requests that no route serves, too.
    assert!(text(&["--fleet", "edge", "--request", "http://elsewhere/"]).contains("everything/total"));
}

#[test]
fn a_gateway_without_listeners_is_explained_without_a_route() {
    let shown = text(&["--fleet", "mesh", "--request", "http://anything/"]);
    assert!(shown.contains("mesh, listeners and routes from elsewhere"), "{shown}");
    assert!(shown.contains("everything/total") && !shown.contains("care/"), "{shown}");
    assert!(shown.ends_with("outcome    admitted\n"), "{shown}");
}

#[test]
fn questions_without_answer_say_what_there_is() {
    let error = |arguments: &[&str]| format!("{:#}", explain(arguments).unwrap_err());
    let url = "http://orders.example.com/orders";
    assert_eq!(error(&["--request", url]), "--fleet: there are several fleets, say which: edge, mesh");
    let unknown = error(&["--fleet", "edgy", "--request", url]);
    assert!(unknown.contains("`edgy`") && unknown.contains("edge"), "{unknown}");
    let backend = error(&["--fleet", "edge", "--backend", "v3", "--request", url]);
    assert_eq!(backend, "--backend: the rule `orders/api` does not lead to `v3`, but to: v1, v2");
    let listener = error(&["--fleet", "edge", "--listener", "wab", "--request", url]);
    assert!(listener.contains("edge/web (port 10000, host *)"), "{listener}");
}
