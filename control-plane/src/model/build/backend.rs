//! What has to hold for a Backend.

use super::{Check, certificate, steps};
use crate::bootstrap::CONTROL_PLANE_CLUSTER;
use crate::document::kind::{Backend, BackendProtocol, BalancingPolicy, MAX_UNITS, units_of_weight};
use crate::document::{Document, Step};

pub(super) fn check(check: &mut Check<'_>, document: &Document, backend: &Backend) {
    let Backend {
        protocol: _,
        endpoints: _,
        discovery: _,
        load_balancing: _,
        health_check: _,
        outlier_detection: _,
        connection_pool: _,
        tls,
    } = backend;
    if document.name == CONTROL_PLANE_CLUSTER {
        // Envoy keeps the cluster of its bootstrap, and would send requests there.
        let message =
            format!("`{CONTROL_PLANE_CLUSTER}` is the cluster by which Envoys reach the control plane");
        let help = Some("give the Backend another name".to_owned());
        check.report(document, steps!["metadata", "name"], message, help);
    }
    if let Some(tls) = tls {
        certificate::backend(check, document, tls);
    }
    endpoints(check, document, backend);
    let mut problems = Vec::new();
    load_balancing(backend, &mut problems);
    health(backend, &mut problems);
    pool(backend, &mut problems);
    for (path, message) in problems {
        check.report(document, &path, message, None);
    }
}

/// A field below `spec`, and what is wrong with it.
type Problem = (Vec<Step>, String);

fn problem(path: &[Step], message: impl Into<String>) -> Problem {
    ([steps!["spec"], path].concat(), message.into())
}

fn endpoints(check: &mut Check<'_>, document: &Document, backend: &Backend) {
    match (&backend.endpoints, &backend.discovery) {
        // What can't be read may have been it.
        (None, None) if !document.has_errors => {
            let message = "a Backend needs `endpoints`, or `discovery` that finds them";
            check.report(document, steps!["spec", "endpoints"], message, None);
        }
        (Some(_), Some(_)) => {
            let message = "a Backend has either `endpoints` or `discovery`: leave one of them out";
            check.report(document, steps!["spec", "discovery"], message, None);
        }
        (None, Some(discovery)) if discovery.dns.is_none() && !document.has_errors => {
            check.report(document, steps!["spec", "discovery", "dns"], "expected `dns`", None);
        }
        _ => {}
    }
    if let Some(dns) = backend.dns()
        && dns.refresh.is_zero()
    {
        let message = "a name has to be asked for again at some time: give more than 0s";
        check.report(document, steps!["spec", "discovery", "dns", "refresh"], message, None);
    }
    let endpoints = backend.endpoints().iter().enumerate();
    check.unique(
        document,
        endpoints.map(|(i, endpoint)| {
            ((endpoint.address, endpoint.port), steps!["spec", "endpoints", i].to_vec())
        }),
        &["address", "port"],
        |(address, port)| format!("there is an endpoint {address} port {port} already"),
    );
    let sum: u64 = backend.endpoints().iter().map(|endpoint| u64::from(endpoint.weight)).sum();
    if sum > u32::MAX.into() {
        let message = format!("the weights add up to {sum}, more than {}", u32::MAX);
        check.report(document, steps!["spec", "endpoints"], message, None);
    }
}

fn load_balancing(backend: &Backend, problems: &mut Vec<Problem>) {
    let balancing = &backend.load_balancing;
    let policy = balancing.policy;
    if let Some(window) = balancing.slow_start {
        let path = steps!["loadBalancing", "slowStart"];
        if !matches!(policy, BalancingPolicy::RoundRobin | BalancingPolicy::LeastRequest) {
            let message =
                format!("{policy:?} has no slow start: take RoundRobin or LeastRequest, or leave it out");
            problems.push(problem(path, message));
        } else if window.is_zero() {
            problems.push(problem(path, "0s is no slow start: leave it out"));
        }
    }
    if balancing.zone_aware {
        let path = steps!["loadBalancing", "zoneAware"];
        if policy.is_by_hash() {
            let message = format!(
                "{policy:?} keeps a key on one endpoint, and proxies of two zones would keep it on two: take another policy, or leave `zoneAware` out"
            );
            problems.push(problem(path, message));
        } else if backend.dns().is_some() {
            problems.push(problem(
                path,
                "the DNS says nothing about zones: list the `endpoints`, or leave it out",
            ));
        } else if backend.endpoints().iter().all(|endpoint| endpoint.zone.is_none())
            && !backend.endpoints().is_empty()
        {
            problems.push(problem(path, "no endpoint has a `zone`: give them theirs, or leave it out"));
        }
    }
    let (units, _) = units_of_weight(backend.endpoints());
    if policy.is_by_hash() && units > MAX_UNITS {
        let message = format!(
            "{policy:?} needs weights that add up to at most {MAX_UNITS}, once divided by what all of them have in common; these make {units}"
        );
        problems.push(problem(steps!["endpoints"], message));
    }
}

fn health(backend: &Backend, problems: &mut Vec<Problem>) {
    if let Some(check) = &backend.health_check {
        let kinds =
            [("http", check.http.is_some()), ("grpc", check.grpc.is_some()), ("tcp", check.tcp.is_some())];
        let mut given = kinds.iter().filter(|(_, given)| *given).map(|(kind, _)| *kind);
        match (given.next(), given.next()) {
            (None, _) => {
                problems.push(problem(steps!["healthCheck"], "expected one of `http`, `grpc` and `tcp`"));
            }
            (Some(first), Some(second)) => {
                let message = format!("there is `{first}` already: leave one of them out");
                problems.push(problem(steps!["healthCheck", second], message));
            }
            (Some("http"), None) if backend.protocol == BackendProtocol::Tcp => {
                let message =
                    "a TCP Backend does not speak HTTP: check it with `tcp`, or give it another `protocol`";
                problems.push(problem(steps!["healthCheck", "http"], message));
            }
            (Some("grpc"), None)
                if !matches!(backend.protocol, BackendProtocol::Grpc | BackendProtocol::Http2) =>
            {
                let message = "gRPC needs `protocol: GRPC`: give that, or check with `http` or `tcp`";
                problems.push(problem(steps!["healthCheck", "grpc"], message));
            }
            _ => {}
        }
        for (field, time) in [("interval", check.interval), ("timeout", check.timeout)] {
            if time.is_zero() {
                problems.push(problem(steps!["healthCheck", field], "expected more than 0s"));
            }
        }
    }
    if let Some(detection) = &backend.outlier_detection {
        if detection.eject_for.is_zero() {
            problems.push(problem(steps!["outlierDetection", "ejectFor"], "expected more than 0s"));
        }
        if detection.max_ejected.basis_points() == 0 {
            let message =
                "with 0% no endpoint would ever be left out: give more, or leave `outlierDetection` out";
            problems.push(problem(steps!["outlierDetection", "maxEjected"], message));
        }
    }
}

fn pool(backend: &Backend, problems: &mut Vec<Problem>) {
    let pool = &backend.connection_pool;
    if pool.connect_timeout.is_some_and(spillway_policy::unit::Duration::is_zero) {
        problems.push(problem(steps!["connectionPool", "connectTimeout"], "expected more than 0s"));
    }
    if backend.protocol != BackendProtocol::Tcp {
        return;
    }
    let of_http = [
        ("maxRequests", pool.max_requests.is_some()),
        ("maxRetries", pool.max_retries.is_some()),
        ("idleTimeout", pool.idle_timeout.is_some()),
    ];
    for (field, _) in of_http.into_iter().filter(|(_, given)| *given) {
        let instead = match field {
            "idleTimeout" => "the listener's `idleTimeout` ends TCP connections",
            _ => "bound it with `maxConnections` and `maxPendingRequests`",
        };
        let message = format!("a TCP Backend has connections, not requests: {instead}");
        problems.push(problem(steps!["connectionPool", field], message));
    }
}

#[cfg(test)]
mod tests {
    use crate::document::read;
    use crate::model::Model;

    /// What is wrong with a Backend, without what every field's path begins with.
    fn errors(spec: &str) -> Vec<String> {
        let text =
            format!("apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: b}}\nspec: {{{spec}}}\n");
        let errors = Model::build([read("b.yaml", text.as_bytes())]).err().unwrap_or_default();
        let text = |field: &str| field.strip_prefix("spec.").unwrap_or(field).to_owned();
        errors.into_iter().map(|error| format!("{}: {}", text(&error.field), error.message)).collect()
    }

    #[test]
    fn endpoints_come_from_exactly_one_place() {
        let dns = "discovery: {dns: {host: orders.svc, port: 80}}";
        assert_eq!(errors("endpoints: []"), [""; 0]);
        assert_eq!(errors(dns), [""; 0]);
        for (spec, expected) in [
            (String::new(), "endpoints: a Backend needs `endpoints`, or `discovery` that finds them"),
            (
                format!("endpoints: [], {dns}"),
                "discovery: a Backend has either `endpoints` or `discovery`: leave one of them out",
            ),
            ("discovery: {}".into(), "discovery.dns: expected `dns`"),
            ("discovery: {etcd: {prefix: a}}".into(), "discovery.etcd: `etcd` is not available yet"),
            (
                dns.replace("80", "80, refresh: 0s"),
                "discovery.dns.refresh: a name has to be asked for again at some time: give more than 0s",
            ),
            (
                dns.replace("orders.svc", "10.0.0.1"),
                "discovery.dns.host: expected a name such as orders.svc, found the address \"10.0.0.1\": it belongs into `endpoints`",
            ),
            (
                dns.replace("orders.svc", "a..b"),
                "discovery.dns.host: expected a name such as orders.svc, found \"a..b\"",
            ),
        ] {
            assert_eq!(errors(&spec), [expected], "{spec}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_what_to_do() {
        let two = "endpoints: [{address: 10.0.0.1, port: 1, zone: a}, {address: 10.0.0.2, port: 1}]";
        let dns = "discovery: {dns: {host: a, port: 1}}";
        for (rest, expected) in [
            ("loadBalancing: {policy: LeastRequest, slowStart: 1s, zoneAware: true}", ""),
            (
                "loadBalancing: {policy: RingHash, slowStart: 1s}",
                "loadBalancing.slowStart: RingHash has no slow start: take RoundRobin or LeastRequest, or leave it out",
            ),
            ("loadBalancing: {slowStart: 0s}", "loadBalancing.slowStart: 0s is no slow start: leave it out"),
            (
                "loadBalancing: {policy: Maglev, zoneAware: true}",
                "loadBalancing.zoneAware: Maglev keeps a key on one endpoint, and proxies of two zones would keep it on two: take another policy, or leave `zoneAware` out",
            ),
            ("healthCheck: {http: {path: /}}", ""),
            ("healthCheck: {}", "healthCheck: expected one of `http`, `grpc` and `tcp`"),
            (
                "healthCheck: {http: {path: /}, tcp: {}}",
                "healthCheck.tcp: there is `http` already: leave one of them out",
            ),
            (
                "healthCheck: {grpc: {}}",
                "healthCheck.grpc: gRPC needs `protocol: GRPC`: give that, or check with `http` or `tcp`",
            ),
            ("protocol: GRPC, healthCheck: {grpc: {service: a}}", ""),
            (
                "protocol: TCP, healthCheck: {http: {path: /}}",
                "healthCheck.http: a TCP Backend does not speak HTTP: check it with `tcp`, or give it another `protocol`",
            ),
            ("healthCheck: {tcp: {}, interval: 0s}", "healthCheck.interval: expected more than 0s"),
            (
                "healthCheck: {http: {path: x}}",
                "healthCheck.http.path: expected a path such as /healthz, found \"x\": it starts with /",
            ),
            ("outlierDetection: {}", ""),
            ("outlierDetection: {ejectFor: 0s}", "outlierDetection.ejectFor: expected more than 0s"),
            (
                "outlierDetection: {maxEjected: 0%}",
                "outlierDetection.maxEjected: with 0% no endpoint would ever be left out: give more, or leave `outlierDetection` out",
            ),
            ("connectionPool: {connectTimeout: 0s}", "connectionPool.connectTimeout: expected more than 0s"),
            (
                "protocol: TCP, connectionPool: {maxConnections: 1, maxPendingRequests: 1, connectTimeout: 1s}",
                "",
            ),
            (
                "protocol: TCP, connectionPool: {maxRequests: 1}",
                "connectionPool.maxRequests: a TCP Backend has connections, not requests: bound it with `maxConnections` and `maxPendingRequests`",
            ),
            (
                "protocol: TCP, connectionPool: {idleTimeout: 1s}",
                "connectionPool.idleTimeout: a TCP Backend has connections, not requests: the listener's `idleTimeout` ends TCP connections",
            ),
        ] {
            let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
            assert_eq!(errors(&format!("{two}, {rest}")), expected, "{rest}");
        }
        let zones = "loadBalancing: {zoneAware: true}";
        assert_eq!(
            errors(&format!("{dns}, {zones}")),
            [
                "loadBalancing.zoneAware: the DNS says nothing about zones: list the `endpoints`, or leave it out"
            ]
        );
        assert_eq!(
            errors(&format!("endpoints: [{{address: 10.0.0.1, port: 1}}], {zones}")),
            ["loadBalancing.zoneAware: no endpoint has a `zone`: give them theirs, or leave it out"]
        );
        let uneven = "endpoints: [{address: 10.0.0.1, port: 1, weight: 400000}, {address: 10.0.0.2, port: 1, weight: 399999}]";
        assert_eq!(errors(uneven), [""; 0]);
        assert_eq!(errors(&uneven.replace("399999", "400000")), [""; 0]);
        let found = errors(&format!("{uneven}, loadBalancing: {{policy: RingHash}}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("endpoints: RingHash needs weights that add up to at most 262144"),
            "{found:?}"
        );
    }
}
