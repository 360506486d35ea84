//! Routes of listeners that pass on bytes: all that such a Route says is which Backends.

use crate::document::kind::{BackendProtocol, Kind, Listener, ParentRef, Route, Rule, Spec, Timeouts};
use crate::document::{Document, Step};
use crate::model::build::{Check, steps};

/// What a listener that some parentRef reaches asks of the Route.
pub(super) fn parent(
    check: &mut Check<'_>,
    document: &Document,
    i: usize,
    route: &Route,
    listeners: &[&Listener],
) {
    let Some(listener) = listeners.iter().find(|listener| !listener.protocol.is_http()) else { return };
    let Some(parent) = route.parent_refs.get(i) else { return };
    let what = format!("the listener `{}` passes on bytes, so its Route has no", listener.name);
    for (path, name) in unusable(route) {
        if document.is_sound(&path, &[]) {
            check.report(document, &path, format!("{what} {name}"), None);
        }
    }
    if route.rules.len() > 1 {
        check.report(document, steps!["spec", "rules"], format!("{what} second rule"), None);
    }
    if let Some(other) = other_route(check, document, parent) {
        let path = steps!["spec", "parentRefs", i, "sectionName"];
        check.report(document, path, format!("the Route `{other}` serves this listener already"), None);
    }
    let is_http = |parent: &ParentRef| reached(check, parent).any(|listener| listener.protocol.is_http());
    if let Some(http) = route.parent_refs.iter().position(is_http) {
        let message =
            format!("a Route serves requests or bytes, and the listener `{}` passes on bytes", listener.name);
        check.report(document, steps!["spec", "parentRefs", http], message, None);
    }
}

/// A Backend that speaks TCP has to be reached from listeners that pass on bytes, and from no others.
pub(super) fn backend(check: &mut Check<'_>, document: &Document, place: &[Step], route: &Route, name: &str) {
    let Some(Some(Spec::Backend(backend))) = check.find(Kind::Backend, name).map(|document| &document.spec)
    else {
        return;
    };
    let speaks_bytes = backend.protocol == BackendProtocol::Tcp;
    let wrong = route
        .parent_refs
        .iter()
        .flat_map(|parent| reached(check, parent))
        .find(|listener| listener.protocol.is_http() == speaks_bytes);
    let Some(listener) = wrong else { return };
    let message = if speaks_bytes {
        format!("`{name}` speaks TCP, and the listener `{}` serves requests", listener.name)
    } else {
        format!("`{name}` does not speak TCP, and the listener `{}` passes on bytes", listener.name)
    };
    check.report(document, &[place, steps!["name"]].concat(), message, None);
}

fn reached<'c>(check: &Check<'c>, parent: &ParentRef) -> impl Iterator<Item = &'c Listener> + use<'c> {
    let listeners = check.gateway(&parent.name).map_or(&[][..], |gateway| &gateway.listeners);
    let parent = parent.clone();
    listeners.iter().filter(move |listener| parent.reaches(listener))
}

/// What is asked of requests, or done to them.
fn unusable(route: &Route) -> Vec<(Vec<Step>, &'static str)> {
    let mut found = Vec::new();
    for (i, rule) in route.rules.iter().enumerate() {
        let Rule { matches, timeouts, retry, filters, websocket, .. } = rule;
        let Timeouts { request, backend_request, idle: _, lifetime: _ } = timeouts;
        let mut add = |is_there: bool, steps: &[Step], name| {
            if is_there {
                found.push(([steps!["spec", "rules", i], steps].concat(), name));
            }
        };
        add(!matches.is_empty(), steps!["matches"], "matches");
        add(request.is_some(), steps!["timeouts", "request"], "timeout for requests");
        add(backend_request.is_some(), steps!["timeouts", "backendRequest"], "timeout for requests");
        add(retry.is_some(), steps!["retry"], "retry");
        add(!filters.is_empty(), steps!["filters"], "filters");
        add(*websocket, steps!["websocket"], "WebSocket");
    }
    if !route.hostnames.is_empty() {
        found.push((steps!["spec", "hostnames"].to_vec(), "hostnames"));
    }
    found
}

/// A Route before this one, in the order of names, that serves the same listener.
fn other_route<'c>(check: &Check<'c>, document: &Document, parent: &ParentRef) -> Option<&'c str> {
    check.all(Kind::Route).find_map(|other| match &other.spec {
        Some(Spec::Route(route)) if other.name < document.name => {
            let same = |one: &ParentRef| one.name == parent.name && one.section_name == parent.section_name;
            route.parent_refs.iter().any(same).then_some(other.name.as_str())
        }
        _ => None,
    })
}
