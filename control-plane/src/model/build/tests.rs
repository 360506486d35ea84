use crate::document::read;
use crate::model::Model;

const BASE: &str = "\
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: edge}
spec: {fleet: f, listeners: [{name: web, port: 1, protocol: HTTP}, {name: admin, port: 2, protocol: HTTP}, {name: raw, port: 3, protocol: TCP}]}
---
apiVersion: spillway.dev/v1
kind: Route
metadata: {name: orders}
spec: {parentRefs: [{name: edge, sectionName: web}], rules: [{name: api, backendRefs: [{name: v1}]}]}
---
apiVersion: spillway.dev/v1
kind: Backend
metadata: {name: v1}
spec: {endpoints: []}
";

const LIMIT: &str = "rateLimits: [{name: l, rate: 1/s, key: [routeKey]}]";
const KEY: &str = "routeKey: [{header: x}]";

/// What is wrong with [`BASE`] and policies, each given as targets and the rest of its spec. Each is a file of its own.
fn errors(policies: &[(&str, &str)]) -> Vec<String> {
    let policies = policies.iter().enumerate().map(|(i, (targets, rest))| {
        let text = format!(
            "apiVersion: spillway.dev/v1\nkind: TrafficPolicy\nmetadata: {{name: p{i}}}\nspec: {{targetRefs: [{targets}], {rest}}}\n"
        );
        read(format!("p{i}.yaml"), text.as_bytes())
    });
    let contents = std::iter::once(read("base.yaml", BASE.as_bytes())).chain(policies);
    let show = |error: crate::document::Diagnostic| {
        format!("{} {}: {}", error.file.display(), error.field, error.message)
    };
    Model::build(contents).err().unwrap_or_default().into_iter().map(show).collect()
}

const EDGE: &str = "{kind: Gateway, name: edge}";
const WEB: &str = "{kind: Gateway, name: edge, sectionName: web}";
const ADMIN: &str = "{kind: Gateway, name: edge, sectionName: admin}";
const ORDERS: &str = "{kind: Route, name: orders}";
const API: &str = "{kind: Route, name: orders, sectionName: api}";

#[test]
fn a_limit_by_route_key_needs_a_route_key_for_its_traffic() {
    for (target, other) in
        [(API, ORDERS), (API, WEB), (API, EDGE), (ORDERS, API), (WEB, API), (EDGE, WEB), (API, API)]
    {
        assert_eq!(errors(&[(target, LIMIT), (other, KEY)]), [""; 0], "{target} {other}");
    }
    let expected = |what: &str| {
        [format!("p0.yaml spec.rateLimits[0].key[0]: no policy sets a route key for the {what}")]
    };
    assert_eq!(errors(&[(API, LIMIT)]), expected("Route `orders`"));
    assert_eq!(errors(&[(API, LIMIT), (ADMIN, KEY)]), expected("Route `orders`"));
    assert_eq!(errors(&[(WEB, LIMIT), (ADMIN, KEY)]), expected("Gateway `edge`"));
    assert_eq!(errors(&[(API, &format!("{KEY}, {LIMIT}"))]), [""; 0]);
}

#[test]
fn a_backend_is_not_called_as_the_control_plane_s_cluster_is() {
    let text = BASE.replace("name: v1", "name: spillway");
    let errors = Model::build([read("base.yaml", text.as_bytes())]).err().unwrap_or_default();
    let said: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    assert_eq!(said, ["metadata.name: `spillway` is the cluster by which Envoys reach the control plane"]);
}

#[test]
fn two_route_keys_for_one_target_are_an_error_and_for_a_part_of_it_not() {
    assert_eq!(errors(&[(EDGE, KEY), (WEB, KEY), (ORDERS, KEY), (API, KEY)]), [""; 0]);
    assert_eq!(
        errors(&[(EDGE, KEY), (&format!("{API}, {EDGE}"), KEY)]),
        ["p1.yaml spec.targetRefs[1]: the policy `p0` sets a route key for the same target, at p0.yaml:4"]
    );
}

#[test]
fn targets_have_to_exist() {
    assert_eq!(
        errors(&[("{kind: Route, name: order}, {kind: Gateway, name: edge, sectionName: wbe}", KEY)]),
        [
            "p0.yaml spec.targetRefs[0].name: there is no Route `order`",
            "p0.yaml spec.targetRefs[1].sectionName: the Gateway `edge` has no listener `wbe`",
        ]
    );
    assert_eq!(
        errors(&[(&format!("{API}, {API}"), KEY)]),
        ["p0.yaml spec.targetRefs[1].name: there is a reference to the Route `orders` already"]
    );
}

#[test]
fn gateways_of_one_fleet_share_their_ports_and_of_two_fleets_do_not() {
    let gateway = |name: &str, fleet: &str, address: &str| {
        let text = format!(
            "apiVersion: spillway.dev/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec: {{fleet: {fleet}, listeners: [{{name: web, port: 1, protocol: HTTP, address: {address}}}]}}\n"
        );
        read(format!("{name}.yaml"), text.as_bytes())
    };
    assert!(
        Model::build([
            gateway("a", "f", "10.0.0.1"),
            gateway("b", "g", "10.0.0.1"),
            gateway("c", "f", "10.0.0.2")
        ])
        .is_ok()
    );
    let errors = Model::build([gateway("a", "f", "10.0.0.1"), gateway("b", "f", "10.0.0.1")]).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].message, "10.0.0.1 port 1 is taken in fleet `f` by the listener at a.yaml:4");
}

#[test]
fn a_gateway_without_listeners_serves_no_route() {
    let text = BASE.replace(
        "listeners: [{name: web, port: 1, protocol: HTTP}, {name: admin, port: 2, protocol: HTTP}, {name: raw, port: 3, protocol: TCP}]",
        "listeners: []",
    );
    let text = text.replace(", sectionName: web", "");
    let errors = Model::build([read("base.yaml", text.as_bytes())]).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].message, "the Gateway `edge` has no listeners, so it serves no Routes");
}

#[test]
fn a_policy_for_a_listener_that_passes_bytes_on_is_refused() {
    const LIMIT: &str = "rateLimits: [{name: l, rate: 1/s}]";
    const RAW: &str = "{kind: Gateway, name: edge, sectionName: raw}";
    let message = "the listener `raw` of the Gateway `edge` passes bytes on and knows no requests: nothing would enforce a policy there";
    assert_eq!(errors(&[(RAW, LIMIT)]), [format!("p0.yaml spec.targetRefs[0].name: {message}")]);
    // The Gateway's other listeners have requests.
    assert_eq!(errors(&[(EDGE, LIMIT)]), [""; 0]);
}
