use super::*;
use crate::document::read;

const DOCUMENTS: &str = "
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: edge}
spec:
  fleet: edge
  listeners:
    - {name: web, port: 1, protocol: HTTP, hostname: '*.example.com'}
    - {name: admin, port: 2, protocol: HTTP}
---
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: mesh}
spec: {fleet: edge}
---
apiVersion: spillway.dev/v1
kind: Route
metadata: {name: orders}
spec:
  parentRefs: [{name: edge, sectionName: web}]
  hostnames: [b.example.com, a.example.com, '*.com']
  rules: [{name: api, backendRefs: [{name: v1, weight: 0}]}]
---
apiVersion: spillway.dev/v1
kind: Route
metadata: {name: everything}
spec:
  parentRefs: [{name: edge}]
  rules: [{name: all, backendRefs: [{name: v1}, {name: v2}]}]
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
kind: Backend
metadata: {name: unused}
spec: {endpoints: []}
---
apiVersion: spillway.dev/v1
kind: TrafficPolicy
metadata: {name: everywhere}
spec: {targetRefs: [{kind: Route, name: orders}, {kind: Gateway, name: edge}, {kind: Gateway, name: mesh}]}
---
apiVersion: spillway.dev/v1
kind: TrafficPolicy
metadata: {name: parts}
spec:
  targetRefs:
    - {kind: Route, name: everything}
    - {kind: Route, name: orders, sectionName: api}
    - {kind: Gateway, name: edge, sectionName: admin}
  rateLimits: [{name: l, rate: 1/s}]
";

fn model() -> Model {
    Model::build([read("f.yaml", DOCUMENTS.as_bytes())]).unwrap_or_else(|errors| panic!("{errors:?}"))
}

#[test]
fn a_listener_serves_the_routes_that_name_it_with_the_hosts_of_both() {
    let model = model();
    let served = |listener: usize| -> Vec<_> {
        let listener = &model.gateways["edge"].listeners[listener];
        model
            .routes_of("edge", listener)
            .map(|attachment| (attachment.name.to_owned(), attachment.hostnames.join(" ")))
            .collect()
    };
    assert_eq!(
        served(0),
        [
            ("everything".into(), "*.example.com".into()),
            ("orders".into(), "*.example.com a.example.com b.example.com".into())
        ]
    );
    assert_eq!(served(1), [("everything".into(), String::new())]);
}

#[test]
fn a_gateway_reaches_the_backends_of_its_routes() {
    let model = model();
    let served = model.served("edge");
    let backends = served.iter().flat_map(|(_, routes)| routes.iter().flat_map(Attachment::backends));
    assert_eq!(backends.collect::<std::collections::BTreeSet<_>>(), ["v1", "v2"].into());
    assert!(model.served("mesh").is_empty());
    assert_eq!(model.fleets()["edge"], ["edge", "mesh"]);
    assert_eq!(model.gateways_of("edge").count(), 2);
}

#[test]
fn a_filter_enforces_the_policies_of_its_gateway_on_what_they_target() {
    let configuration = model().filter_configuration("edge");
    let scopes: Vec<_> =
        configuration.policies.iter().map(|policy| (&*policy.name, policy.applies_to.clone())).collect();
    assert_eq!(
        scopes,
        [
            ("everywhere", vec![]),
            (
                "parts",
                vec![
                    Scope::RoutePrefix("everything/".into()),
                    Scope::Route("orders/api".into()),
                    Scope::FilterChain("admin".into())
                ]
            )
        ]
    );
    assert_eq!(configuration.policies[1].rate_limits.len(), 1);
    // A Gateway without listeners takes only what targets it.
    let mesh = model().filter_configuration("mesh");
    assert_eq!(mesh.policies.iter().map(|policy| &*policy.name).collect::<Vec<_>>(), ["everywhere"]);
    assert_eq!(mesh.revision, 0);
}

#[test]
fn a_filter_reads_back_what_a_model_gives_it() {
    let configuration = model().filter_configuration("edge");
    let json = serde_json::to_vec(&configuration).unwrap();
    assert_eq!(serde_json::from_slice::<Configuration>(&json).unwrap(), configuration);
}
