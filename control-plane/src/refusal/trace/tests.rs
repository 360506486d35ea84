use std::sync::Arc;

use super::*;
use crate::document::kind;
use crate::model::Model;
use crate::snapshot::build::Builder;
use crate::snapshot::revision::Revisions;
use crate::store::{Accepted, Stored};

const DOCUMENTS: &[(kind::Kind, &str, &str)] = &[
    (
        kind::Kind::Gateway,
        "edge",
        "{fleet: edge, listeners: [{name: web, address: 127.0.0.1, port: 8000, protocol: HTTP}, {name: shop, address: 127.0.0.1, port: 8001, protocol: HTTP, hostname: shop.example.com}]}",
    ),
    (
        kind::Kind::Route,
        "orders",
        "{parentRefs: [{name: edge, sectionName: web}], rules: [{name: api, matches: [{path: {value: /orders}}, {headers: [{name: x-env, value: 'pro[d'}]}], backendRefs: [{name: v1}, {name: v2}]}]}",
    ),
    (
        kind::Kind::Route,
        "carts",
        "{parentRefs: [{name: edge}], rules: [{name: all, matches: [{path: {value: /carts/of}}], backendRefs: [{name: v1}]}]}",
    ),
    (kind::Kind::Backend, "v1", "{endpoints: [{address: 10.0.0.1, port: 1}, {address: 10.0.0.2, port: 1}]}"),
    (kind::Kind::Backend, "v2", "{endpoints: []}"),
    (
        kind::Kind::TrafficPolicy,
        "guard",
        "{targetRefs: [{kind: Gateway, name: edge}], rateLimits: [{name: all, rate: 1/s}]}",
    ),
];

fn snapshot() -> Arc<Snapshot> {
    let texts: Vec<_> = DOCUMENTS
        .iter()
        .map(|(kind, name, spec)| {
            let text = format!(
                "apiVersion: spillway.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
            );
            ((*kind, (*name).to_owned()), text)
        })
        .collect();
    let contents = texts.iter().map(|((_, name), text)| crate::document::read(name, text.as_bytes()));
    let model = Arc::new(Model::build(contents).unwrap());
    let documents =
        texts.into_iter().map(|(key, text)| (key, Stored { text: text.into(), revision: 1 })).collect();
    let accepted = Arc::new(Accepted {
        revision: 1,
        documents: Arc::new(documents),
        model: Arc::clone(&model),
        ..Accepted::default()
    });
    let mut builder = Builder::new("00", Revisions::default());
    let snapshot = Arc::clone(&builder.build(&model, 1)["edge"]);
    snapshot.came_from(&accepted);
    snapshot
}

/// The document and the field that `error` about these resources is traced to.
fn traced(kind: Kind, resources: &[&str], error: &str) -> String {
    let snapshot = snapshot();
    let resources: Vec<_> = resources
        .iter()
        .map(|name| {
            let resource = snapshot.set(kind).get(name).expect(name);
            (Arc::clone(resource.name()), Arc::clone(resource.version()))
        })
        .collect();
    trace(&snapshot, kind, &resources, error)
        .map_or_else(String::new, |cause| format!("{} {}", cause.document, cause.field))
}

#[test]
fn a_value_that_the_proxy_quotes_is_found_in_the_documents() {
    let routes = |error| traced(Kind::Route, &["127.0.0.1:8000"], error);
    assert_eq!(routes("missing ]: pro[d"), "Route orders spec.rules[0].matches[1].headers[0].value");
    assert_eq!(routes("route: unknown cluster 'v2'"), "Route orders spec.rules[0].backendRefs[1].name");
    // Not the shorter value that it contains, and not part of a word.
    assert_eq!(routes("bad path /carts/of"), "Route carts spec.rules[0].matches[0].path.value");
    assert_eq!(routes("something ord 10.0.0"), "Gateway edge spec.listeners[0]");
    assert_eq!(
        traced(Kind::Endpoints, &["v1"], "malformed IP address: 10.0.0.2."),
        "Backend v1 spec.endpoints[1].address"
    );
}

#[test]
fn of_several_resources_the_one_that_the_proxy_names_is_meant() {
    let clusters = |error| traced(Kind::Cluster, &["v1", "v2"], error);
    assert_eq!(clusters("Error adding/updating cluster(s) v2: no"), "Backend v2 ");
    assert_eq!(clusters("no"), "");
    let listeners = |error| traced(Kind::Listener, &["127.0.0.1:8000", "127.0.0.1:8001"], error);
    let taken = "Error adding/updating listener(s) 127.0.0.1:8001: cannot bind '127.0.0.1:8001': Address already in use";
    assert_eq!(listeners(taken), "Gateway edge spec.listeners[1].port");
}

#[test]
fn where_only_one_document_can_be_meant_it_is_named() {
    // The listener with the host serves two routes or one.
    assert_eq!(traced(Kind::Route, &["127.0.0.1:8001"], "no"), "Route carts ");
    assert_eq!(traced(Kind::Route, &["127.0.0.1:8000"], "no"), "Gateway edge spec.listeners[0]");
    assert_eq!(traced(Kind::ExtensionConfig, &["spillway/edge"], "no"), "TrafficPolicy guard ");
    assert_eq!(traced(Kind::Endpoints, &["v2"], "no"), "Backend v2 spec.endpoints");
}

#[test]
fn words_are_whole() {
    assert!(contains("cluster 'v1' x", "v1"));
    assert!(contains("v1", "v1"));
    assert!(!contains("v10 dev1 v1-a", "v1"));
    assert!(contains("é:/a/é", "/a/"));
}
