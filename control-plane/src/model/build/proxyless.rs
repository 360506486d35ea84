//! What can't be asked of listeners whose clients send their calls to the endpoints themselves: no proxy is there to do it.

use std::collections::BTreeMap;

use super::{Check, steps};
use crate::document::kind::{
    BackendProtocol, ClientAddress, Gateway, Kind, Limits, Listener, ParentRef, Protocol, Route, Spec,
    Timeouts,
};
use crate::document::{Document, Step};

/// gRPC's own bound (gRFC A6: five attempts in all).
const MAX_ATTEMPTS: u32 = 4;

mod backend;

fn is_proxyless(listener: &Listener) -> bool {
    listener.protocol == Protocol::Proxyless
}

/// A client asks for the host that it calls.
pub(super) fn gateway(check: &mut Check<'_>, document: &Document, gateway: &Gateway) {
    for (i, listener) in gateway.listeners.iter().enumerate().filter(|(_, one)| is_proxyless(one)) {
        let path = steps!["spec", "listeners", i, "hostname"];
        match &listener.hostname {
            None => {
                let message =
                    "a Proxyless listener needs a hostname: the one that clients name in `xds:///hostname`";
                check.report(document, path, message, None);
            }
            Some(host) if host.starts_with('*') => {
                let message =
                    "a Proxyless listener needs one hostname, not a wildcard: clients ask for it by its name";
                check.report(document, path, message, None);
            }
            Some(_) => {}
        }
        if listener.limits != Limits::default() {
            let message = "a Proxyless listener has no proxy that could limit anything";
            check.report(document, steps!["spec", "listeners", i, "limits"], message, None);
        }
        if listener.client_address != ClientAddress::default() {
            let message = "a Proxyless listener has no proxy that could ask for the client's address";
            check.report(document, steps!["spec", "listeners", i, "clientAddress"], message, None);
        }
        if listener.access_log {
            let message = "a Proxyless listener has no proxy that could write an access log";
            check.report(document, steps!["spec", "listeners", i, "accessLog"], message, None);
        }
    }
}

/// In all Gateways of a fleet a host is served once, and proxies and clients without one are different fleets: an Envoy takes no listener
/// that has no address.
pub(super) fn fleets(check: &mut Check<'_>) {
    let mut first: BTreeMap<&str, (&Document, usize, bool)> = BTreeMap::new();
    let mut hosts: BTreeMap<(&str, &str), (&Document, usize)> = BTreeMap::new();
    let mut problems = Vec::new();
    for (document, gateway) in check.gateways() {
        for (i, listener) in gateway.listeners.iter().enumerate() {
            let item = steps!["spec", "listeners", i];
            if !document.is_sound(item, &["protocol", "hostname"])
                || !document.is_sound(steps!["spec"], &["fleet"])
            {
                continue;
            }
            let fleet = gateway.fleet.as_str();
            let (other, at, proxyless) = *first.entry(fleet).or_insert((document, i, is_proxyless(listener)));
            if proxyless != is_proxyless(listener) {
                let other = other.location(steps!["spec", "listeners", at, "protocol"]);
                let message =
                    format!("fleet `{fleet}` has Proxyless listeners and others, such as the one at {other}");
                problems.push((document, [item, steps!["protocol"]].concat(), message));
            }
            let Some(host) = listener.hostname.as_deref().filter(|_| is_proxyless(listener)) else {
                continue;
            };
            if let Some((other, at)) = hosts.insert((fleet, host), (document, i)) {
                let other = other.location(steps!["spec", "listeners", at, "hostname"]);
                let message = format!("`{host}` is taken in fleet `{fleet}` by the listener at {other}");
                problems.push((document, [item, steps!["hostname"]].concat(), message));
            }
        }
    }
    for (document, path, message) in problems {
        check.report(document, &path, message, None);
    }
}

/// What a rule must not use where clients without a proxy follow it.
pub(super) fn route(check: &mut Check<'_>, document: &Document, route: &Route) {
    let Some(gateway) = route.parent_refs.iter().find(|parent| is_parent(check, parent)) else { return };
    let gateway = &gateway.name;
    for (i, rule) in route.rules.iter().enumerate() {
        let mut refused = |steps: &[Step], what: &str| {
            let message = format!("the clients of the Proxyless Gateway `{gateway}` {what}");
            check.report(document, &[steps!["spec", "rules", i], steps].concat(), message, None);
        };
        for (j, each) in rule.matches.iter().enumerate() {
            if each.method.is_some() {
                refused(steps!["matches", j, "method"], "can't match on a method: every gRPC call is a POST");
            }
            if !each.query_params.is_empty() {
                refused(steps!["matches", j, "queryParams"], "can't match on queries: gRPC calls have none");
            }
            if each.route_key.is_some() {
                refused(steps!["matches", j, "routeKey"], "have no filter that makes a route key");
            }
        }
        let Timeouts { request: _, backend_request, idle, lifetime } = &rule.timeouts;
        let times = [("backendRequest", backend_request), ("idle", idle), ("lifetime", lifetime)];
        for (name, _) in times.into_iter().filter(|(_, time)| time.is_some()) {
            refused(&[Step::Field("timeouts"), Step::Field(name)], "know no timeout but `request`");
        }
        if let Some(retry) = &rule.retry {
            if !retry.codes.is_empty() {
                refused(
                    steps!["retry", "codes"],
                    "see the status of a call and not that of HTTP; use conditions",
                );
            }
            if retry.conditions.is_empty() {
                refused(steps!["retry"], "need conditions for a retry, such as unavailable");
            }
            for (j, condition) in retry.conditions.iter().enumerate().filter(|(_, one)| !one.is_grpc()) {
                refused(
                    steps!["retry", "conditions", j],
                    &format!("don't know the condition `{}`", condition.name()),
                );
            }
            if retry.attempts.get() > MAX_ATTEMPTS {
                refused(
                    steps!["retry", "attempts"],
                    &format!("make {MAX_ATTEMPTS} attempts after the first at most"),
                );
            }
            if retry.budget.is_some() {
                refused(steps!["retry", "budget"], "keep no budget");
            }
        }
        if !rule.filters.is_empty() {
            refused(steps!["filters"], "change nothing of calls");
        }
        if rule.websocket {
            refused(steps!["websocket"], "speak gRPC and not WebSocket");
        }
        for (path, what) in backend::of_rule(rule) {
            refused(&path, what);
        }
        for (j, reference) in rule.backend_refs.iter().enumerate() {
            let protocol = match check.find(Kind::Backend, &reference.name).map(|document| &document.spec) {
                Some(Some(Spec::Backend(backend))) if backend.tls.is_some() => {
                    let message = format!(
                        "the Proxyless Gateway `{gateway}` leads gRPC clients to `{}`, whose TLS is made of secrets, which such clients don't ask for",
                        reference.name
                    );
                    check.report(
                        document,
                        steps!["spec", "rules", i, "backendRefs", j, "name"],
                        message,
                        None,
                    );
                    continue;
                }
                Some(Some(Spec::Backend(backend))) => {
                    if let Some((field, what)) = backend::not_understood(backend) {
                        let message = format!(
                            "the clients of the Proxyless Gateway `{gateway}` {what}: `{}` has `{field}`",
                            reference.name
                        );
                        let path = steps!["spec", "rules", i, "backendRefs", j, "name"];
                        check.report(document, path, message, None);
                    }
                    backend.protocol
                }
                _ => continue,
            };
            if !matches!(protocol, BackendProtocol::Grpc | BackendProtocol::Http2) {
                let message = format!(
                    "the Proxyless Gateway `{gateway}` leads gRPC clients to `{}`, which does not speak GRPC",
                    reference.name
                );
                check.report(document, steps!["spec", "rules", i, "backendRefs", j, "name"], message, None);
            }
        }
    }
}

/// A policy that nobody would enforce.
pub(super) fn policy(check: &mut Check<'_>, document: &Document, i: usize, covered: &[ParentRef]) {
    if let Some(ParentRef { name, .. }) = covered.iter().find(|parent| is_parent(check, parent)) {
        let message = format!(
            "the clients of the Proxyless Gateway `{name}` have no proxy that could enforce a policy"
        );
        check.report(document, steps!["spec", "targetRefs", i, "name"], message, None);
    }
}

fn is_parent(check: &Check<'_>, parent: &ParentRef) -> bool {
    let listeners = check.gateway(&parent.name).map_or(&[][..], |gateway| &gateway.listeners);
    listeners.iter().any(|listener| is_proxyless(listener) && parent.reaches(listener))
}

#[cfg(test)]
mod tests {
    use crate::document::read;
    use crate::model::Model;

    /// What is wrong with these documents, given as kind, name and spec.
    fn errors(documents: &[(&str, &str, &str)]) -> Vec<String> {
        let texts = documents.iter().map(|(kind, name, spec)| {
            format!("apiVersion: spillway.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
        });
        let text = texts.collect::<Vec<_>>().join("---\n");
        let errors = Model::build([read("x.yaml", text.as_bytes())]).err().unwrap_or_default();
        errors
            .into_iter()
            .map(|error| format!("{} {}: {}", error.document, error.field, error.message))
            .collect()
    }

    const SHOP: (&str, &str, &str) = (
        "Gateway",
        "shop",
        "{fleet: shop, listeners: [{name: a, port: 1, protocol: Proxyless, hostname: a.shop}]}",
    );
    const GRPC: (&str, &str, &str) = ("Backend", "v1", "{protocol: GRPC, endpoints: []}");

    #[test]
    fn a_proxyless_listener_needs_one_host_that_no_other_has() {
        let listener = |rest: &str| {
            format!("{{fleet: shop, listeners: [{{name: a, port: 1, protocol: Proxyless{rest}}}]}}")
        };
        assert_eq!(errors(&[SHOP]), [""; 0]);
        let found = errors(&[("Gateway", "b", &listener(""))]);
        assert!(
            found[0]
                .starts_with("Gateway b spec.listeners[0].hostname: a Proxyless listener needs a hostname"),
            "{found:?}"
        );
        let found = errors(&[("Gateway", "b", &listener(", hostname: '*.shop'"))]);
        assert!(found[0].contains("not a wildcard"), "{found:?}");
        let found = errors(&[SHOP, ("Gateway", "b", &listener(", hostname: a.shop"))]);
        assert!(found[0].contains("`a.shop` is taken in fleet `shop`"), "{found:?}");
        // Two hosts may have one port, as nobody listens on it.
        assert_eq!(errors(&[SHOP, ("Gateway", "b", &listener(", hostname: b.shop"))]), [""; 0]);
    }

    #[test]
    fn a_fleet_has_proxies_or_clients_without() {
        let found = errors(&[
            SHOP,
            ("Gateway", "web", "{fleet: shop, listeners: [{name: a, port: 1, protocol: HTTP}]}"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("Gateway web spec.listeners[0].protocol: fleet `shop` has Proxyless"),
            "{found:?}"
        );
    }

    #[test]
    fn what_only_a_proxy_can_do_is_refused() {
        let route = |rule: &str| {
            format!(
                "{{parentRefs: [{{name: shop}}], rules: [{{name: all, {rule}, backendRefs: [{{name: v1}}]}}]}}"
            )
        };
        let plain = route("matches: [{path: {value: /a.B}, headers: [{name: x-a, value: b}]}]");
        assert_eq!(errors(&[SHOP, GRPC, ("Route", "r", &plain)]), [""; 0]);
        let found = errors(&[SHOP, GRPC, ("Route", "r", &route("matches: [{method: GET}]"))]);
        assert!(found[0].starts_with("Route r spec.rules[0].matches[0].method: "), "{found:?}");
        let found = errors(&[SHOP, ("Backend", "v1", "{endpoints: []}"), ("Route", "r", &plain)]);
        assert!(found[0].starts_with("Route r spec.rules[0].backendRefs[0].name: "), "{found:?}");
        for target in ["kind: Gateway, name: shop", "kind: Route, name: r"] {
            let policy = format!("{{targetRefs: [{{{target}}}], rateLimits: [{{name: all, rate: 1/s}}]}}");
            let found = errors(&[SHOP, GRPC, ("Route", "r", &plain), ("TrafficPolicy", "p", &policy)]);
            assert!(
                found[0].starts_with("TrafficPolicy p spec.targetRefs[0].name: the clients of the Proxyless"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_clients_would_not_follow_of_a_backend_is_refused() {
        let route = |rule: &str| {
            format!(
                "{{parentRefs: [{{name: shop}}], rules: [{{name: all, backendRefs: [{{name: v1}}]{rule}}}]}}"
            )
        };
        let backend = |rest: &str| format!("{{protocol: GRPC, endpoints: []{rest}}}");
        for good in [
            ", loadBalancing: {policy: RingHash}, connectionPool: {maxRequests: 5}",
            ", loadBalancing: {zoneAware: true}",
        ] {
            assert_eq!(
                errors(&[SHOP, ("Backend", "v1", &backend(good)), ("Route", "r", &route(""))]),
                [""; 0]
            );
        }
        for (rest, expected) in [
            (", healthCheck: {grpc: {}}", "check no endpoints: `v1` has `healthCheck`"),
            (", outlierDetection: {}", "don't count errors in a row: `v1` has `outlierDetection`"),
            (
                ", loadBalancing: {policy: Maglev}",
                "know RoundRobin and RingHash only: `v1` has `loadBalancing.policy`",
            ),
            (", loadBalancing: {slowStart: 1s}", "have no slow start: `v1` has `loadBalancing.slowStart`"),
            (
                ", connectionPool: {maxConnections: 5}",
                "know no bound but `maxRequests`: `v1` has `connectionPool`",
            ),
        ] {
            let found = errors(&[SHOP, ("Backend", "v1", &backend(rest)), ("Route", "r", &route(""))]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].ends_with(expected), "{found:?}");
        }
        let ring = backend(", loadBalancing: {policy: RingHash}");
        for (rule, field) in [
            (", hashOn: [{header: x-a}]", ""),
            (", hashOn: [clientAddress]", "Route r spec.rules[0].hashOn[0]: "),
            (", hashOn: [{cookie: {name: a}}]", "Route r spec.rules[0].hashOn[0]: "),
            (", sessionPersistence: {}", "Route r spec.rules[0].sessionPersistence: "),
        ] {
            let found = errors(&[SHOP, ("Backend", "v1", &ring), ("Route", "r", &route(rule))]);
            assert_eq!(found.len(), usize::from(!field.is_empty()), "{found:?}");
            assert!(found.iter().all(|error| error.starts_with(field)), "{found:?}");
        }
    }
}
