//! Which rule of a listener serves a request: Envoy's choice, made again from the documents.
//!
//! What may serve a host, and in which order, is asked of the code that renders it for Envoy ([`route::candidates`]), so that the two cannot disagree; only matching is done here.

use super::request::Request;
use crate::document::expression;
use crate::document::kind::{
    BackendRef, GrpcMatch, HeaderMatch, Listener, Match, PathMatch, PathMatchKind, QueryParamMatch, Rule,
    ValueMatchKind,
};
use crate::model::{Attachment, Model, hostname};
use crate::resource::route::{self, Candidate};

/// The rule that serves a request.
#[derive(Debug)]
pub(super) struct Matched<'a> {
    /// The route's name.
    pub(super) route: &'a str,
    pub(super) rule: &'a Rule,
    /// The host whose rules were looked at: the most specific that covers the request's.
    pub(super) host: String,
    pub(super) condition: Match,
}

impl Matched<'_> {
    /// The status of the redirect, if that is the rule's answer.
    pub(super) fn redirects(&self) -> Option<u16> {
        let redirect = self.rule.filters.iter().find_map(|filter| filter.request_redirect.as_ref());
        redirect.map(|redirect| redirect.status_code.status())
    }
}

/// The listeners of a fleet that accept a request, each with its Gateway's name. Of those on one address, the one with the most specific host.
pub(super) fn listeners<'a>(
    model: &'a Model,
    fleet: &str,
    request: &Request,
) -> Vec<(&'a str, &'a Listener)> {
    let all = || {
        model
            .gateways_of(fleet)
            .flat_map(|(name, gateway)| gateway.listeners.iter().map(move |listener| (name, listener)))
            .filter(|(_, listener)| accepts(listener, &request.host))
    };
    let is_named = |listener: &Listener| Some(listener.port.get()) == request.port;
    // A URL without port, or with one that is mapped to a listener's in front of Envoy, does not say which.
    let by_port: Vec<_> = all().filter(|(_, listener)| is_named(listener)).collect();
    let found = if by_port.is_empty() { all().collect() } else { by_port };
    let specificity =
        |listener: &Listener| listener.hostname.as_deref().map(|host| (!host.starts_with('*'), host.len()));
    let is_best = |one: &Listener| {
        found.iter().all(|(_, other)| {
            (other.address, other.port) != (one.address, one.port) || specificity(other) <= specificity(one)
        })
    };
    found.iter().filter(|(_, listener)| is_best(listener)).copied().collect()
}

fn accepts(listener: &Listener, host: &str) -> bool {
    listener.hostname.as_deref().is_none_or(|wide| hostname::covers(wide, host))
}

/// The first rule in the order of precedence whose match holds.
pub(super) fn find<'a>(attachments: &[Attachment<'a>], request: &Request) -> Option<Matched<'a>> {
    let hosts = route::hosts(attachments);
    let covering = hosts.names().filter(|host| *host == "*" || hostname::covers(host, &request.host));
    // As Envoy looks for a virtual host: the exact one, then the longest wildcard.
    let host = covering.max_by_key(|host| (!host.starts_with('*'), host.len()))?;
    let candidates = route::candidates(host, &hosts);
    candidates.into_iter().find(|candidate| holds(&candidate.condition, request)).map(|candidate| {
        let Candidate { route, rule, condition } = candidate;
        Matched { route, rule, host: host.to_owned(), condition: condition.into_owned() }
    })
}

/// Whether everything in a match holds.
fn holds(condition: &Match, request: &Request) -> bool {
    // What is not available yet has no value; when it gets a type of its own, it has to be asked here.
    let Match { path, method, headers, query_params, grpc, route_key, mqtt: None } = condition else {
        return false;
    };
    path.as_ref().is_none_or(|path| path_holds(path, request.path()))
        && method.as_ref().is_none_or(|method| method == request.method())
        && headers.iter().all(|header| header_holds(header, request))
        && query_params.iter().all(|parameter| parameter_holds(parameter, &request.target))
        && grpc.as_ref().is_none_or(|grpc| is_call(grpc, request))
        && route_key.as_ref().is_none_or(|key| request.early_key.as_ref() == Some(&key.value))
}

fn path_holds(PathMatch { kind, value }: &PathMatch, path: &str) -> bool {
    match kind {
        PathMatchKind::Exact => path == value,
        PathMatchKind::PathPrefix => path
            .strip_prefix(value.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        PathMatchKind::RegularExpression => expression::matches(value, path),
    }
}

fn value_holds(kind: ValueMatchKind, value: &str, found: &str) -> bool {
    match kind {
        ValueMatchKind::Exact => found == value,
        ValueMatchKind::RegularExpression => expression::matches(value, found),
    }
}

fn header_holds(HeaderMatch { name, value, kind }: &HeaderMatch, request: &Request) -> bool {
    let found = request.headers.get(&name.to_ascii_lowercase());
    found.is_some_and(|found| value_holds(*kind, value, found))
}

/// Of several with one name Envoy looks at the first.
fn parameter_holds(QueryParamMatch { name, value, kind }: &QueryParamMatch, target: &str) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let mut parameters = query.split('&').map(|one| one.split_once('=').unwrap_or((one, "")));
    parameters.find(|(found, _)| found == name).is_some_and(|(_, found)| value_holds(*kind, value, found))
}

fn is_call(GrpcMatch { service, method }: &GrpcMatch, request: &Request) -> bool {
    let kind = request.headers.get("content-type").map_or("", String::as_str);
    let is_grpc =
        kind.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with('+'));
    let mut elements = request.path().strip_prefix('/').unwrap_or_default().splitn(2, '/');
    let (called, with) = (elements.next(), elements.next());
    is_grpc
        && service.as_deref().is_none_or(|service| called == Some(service))
        && method.as_deref().is_none_or(|method| with == Some(method))
}

/// The Backend that a rule most likely leads to: the one with the most weight, the first of several.
pub(super) fn likely_backend(rule: &Rule) -> Option<&BackendRef> {
    let weighted = rule.backend_refs.iter().filter(|reference| reference.weight > 0);
    weighted.rev().max_by_key(|reference| reference.weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::read;

    const DOCUMENTS: &str = "
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: edge}
spec:
  fleet: edge
  listeners:
    - {name: web, port: 80, protocol: HTTP}
    - {name: shop, port: 81, protocol: HTTP, hostname: '*.example.com'}
---
apiVersion: spillway.dev/v1
kind: Route
metadata: {name: orders}
spec:
  parentRefs: [{name: edge}]
  hostnames: [orders.example.com, '*.example.com']
  rules:
    - {name: prefix, matches: [{path: {value: /orders}}], backendRefs: [{name: v1, weight: 1}, {name: v2, weight: 2}]}
    - {name: long, matches: [{path: {value: /orders/eu/}}], backendRefs: [{name: v1}]}
    - {name: exact, matches: [{path: {type: Exact, value: /orders}}], backendRefs: [{name: v1}]}
    - {name: post, matches: [{path: {value: /orders}, method: POST}], backendRefs: [{name: v1}]}
    - {name: test, matches: [{path: {value: /orders}, headers: [{name: X-Env, value: test}]}], backendRefs: [{name: v1}]}
---
apiVersion: spillway.dev/v1
kind: Route
metadata: {name: any}
spec:
  parentRefs: [{name: edge, sectionName: web}]
  rules: [{name: all, backendRefs: [{name: v1, weight: 0}]}]
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
";

    fn model() -> Model {
        Model::build([read("f.yaml", DOCUMENTS.as_bytes())]).unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    fn matched(listener: usize, line: &str, headers: &[&str]) -> Option<String> {
        let model = model();
        let headers: Vec<String> = headers.iter().map(ToString::to_string).collect();
        let request = Request::parse(line, &headers).unwrap();
        let listener = &model.gateways["edge"].listeners[listener];
        let attachments: Vec<_> = model.routes_of("edge", listener).collect();
        find(&attachments, &request)
            .map(|found| format!("{}/{} {}", found.route, found.rule.name, found.host))
    }

    #[test]
    fn precedence_is_the_gateway_api_s() {
        let url = |method: &str, path: &str| format!("{method} http://orders.example.com{path}");
        let rule = |method, path, headers: &[&str]| {
            matched(0, &url(method, path), headers).map(|found| found.split(' ').next().unwrap().to_owned())
        };
        assert_eq!(rule("GET", "/orders", &[]).as_deref(), Some("orders/exact"));
        assert_eq!(rule("GET", "/orders?x", &[]).as_deref(), Some("orders/exact"));
        assert_eq!(rule("GET", "/orders/7", &[]).as_deref(), Some("orders/prefix"));
        assert_eq!(rule("POST", "/orders/7", &[]).as_deref(), Some("orders/post"));
        assert_eq!(rule("POST", "/orders/7", &["x-env: test"]).as_deref(), Some("orders/post"));
        assert_eq!(rule("GET", "/orders/7", &["x-env: test"]).as_deref(), Some("orders/test"));
        assert_eq!(rule("GET", "/orders/7", &["x-env: tests"]).as_deref(), Some("orders/prefix"));
        assert_eq!(rule("GET", "/orders/eu", &[]).as_deref(), Some("orders/long"));
        assert_eq!(rule("GET", "/orders/europe", &[]).as_deref(), Some("orders/prefix"));
        assert_eq!(rule("GET", "/ordersx", &[]).as_deref(), Some("any/all"), "a wider host's rule");
        assert_eq!(rule("post", "/orders/7", &[]).as_deref(), Some("orders/prefix"), "methods have a case");
    }

    #[test]
    fn hosts_are_the_most_specific_first() {
        let host = |listener, host: &str| matched(listener, &format!("http://{host}/orders/7"), &[]);
        assert_eq!(host(0, "orders.example.com").as_deref(), Some("orders/prefix orders.example.com"));
        assert_eq!(host(0, "a.b.example.com").as_deref(), Some("orders/prefix *.example.com"));
        assert_eq!(host(0, "example.com").as_deref(), Some("any/all *"));
        assert_eq!(host(1, "example.com"), None);
    }

    #[test]
    fn a_listener_is_found_by_port_and_host() {
        let model = model();
        let named = |line: &str| -> Vec<String> {
            let request = Request::parse(line, &[]).unwrap();
            listeners(&model, "edge", &request).iter().map(|(_, listener)| listener.name.clone()).collect()
        };
        assert_eq!(named("http://a.example.com/"), ["web", "shop"]);
        assert_eq!(named("http://a.example.com:81/"), ["shop"]);
        assert_eq!(named("http://a.example.com:443/"), ["web", "shop"], "no listener's port: a mapped one");
        assert_eq!(named("http://other/"), ["web"]);
        assert_eq!(listeners(&model, "core", &Request::parse("http://a/", &[]).unwrap()).len(), 0);
    }

    #[test]
    fn the_likely_backend_has_the_most_weight() {
        let model = model();
        let rules = &model.routes["orders"].rules;
        assert_eq!(likely_backend(&rules[0]).unwrap().name, "v2");
        assert_eq!(likely_backend(&rules[1]).unwrap().name, "v1");
        assert!(likely_backend(&model.routes["any"].rules[0]).is_none());
    }
}
