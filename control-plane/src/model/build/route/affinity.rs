//! What has to hold where requests are kept on one endpoint.

use crate::document::Document;
use crate::document::kind::{BackendProtocol, HashKey, Kind, Route, Rule, Spec, TargetKind};
use crate::model::build::{Check, steps};

pub(super) fn check(check: &mut Check<'_>, document: &Document, route: &Route, i: usize, rule: &Rule) {
    let several = rule.backend_refs.iter().filter(|reference| reference.weight > 0).count() > 1;
    let path = steps!["spec", "rules", i, "hashOn"];
    let keys = rule.hash_on.iter().enumerate();
    check.unique(document, keys.map(|(j, key)| (key, [path, steps![j]].concat())), &[], |_| {
        "this is there already".into()
    });
    if !rule.hash_on.is_empty() {
        hashed(check, document, path, rule);
        let key = rule.hash_on.iter().position(|key| *key == HashKey::RouteKey);
        if let Some(j) = key.filter(|_| !super::matching::has_route_key(check, route)) {
            // Which Backend gets a request is decided before a policy of the Route is asked.
            let (known, whose) = if several {
                (false, "a Gateway of this Route, and with several Backends it has to be the Gateway's")
            } else {
                (has_own_key(check, document, rule), "this Route or its Gateways")
            };
            if !known {
                let message = format!("no policy sets a route key for {whose}");
                check.report(document, &[path, steps![j]].concat(), message, None);
            }
        }
    }
    if rule.session_persistence.is_some() && several && rule.hash_on.is_empty() {
        let message = "a session would jump between the Backends: give `hashOn` too, which keeps it on one of them, or only one backendRef";
        check.report(document, steps!["spec", "rules", i, "sessionPersistence"], message, None);
    }
    if let Some(persistence) = &rule.session_persistence
        && persistence.absolute_timeout.is_some_and(spillway_policy::unit::Duration::is_zero)
    {
        let path = steps!["spec", "rules", i, "sessionPersistence", "absoluteTimeout"];
        check.report(document, path, "a session of 0s is none: give more, or leave it out", None);
    }
}

/// Whether a policy of the Route, or of the rule alone, sets a key.
fn has_own_key(check: &Check<'_>, document: &Document, rule: &Rule) -> bool {
    check.all(Kind::TrafficPolicy).any(|policy| match &policy.spec {
        // What is wrong with it may be its key.
        _ if policy.has_errors => true,
        Some(Spec::TrafficPolicy(policy)) if !policy.route_key.is_empty() => {
            policy.target_refs.iter().any(|target| {
                target.kind == TargetKind::Route
                    && target.name == document.name
                    && target.section_name.as_ref().is_none_or(|section| *section == rule.name)
            })
        }
        _ => false,
    })
}

/// A hash that nobody asks for is a mistake.
fn hashed(check: &mut Check<'_>, document: &Document, path: &[crate::document::Step], rule: &Rule) {
    let backends =
        rule.backend_refs.iter().map(|reference| match &check.find(Kind::Backend, &reference.name)?.spec {
            Some(Spec::Backend(backend)) => Some(backend),
            _ => None,
        });
    // One that is missing, or can't be read, may be the one.
    let Some(backends) = backends.collect::<Option<Vec<_>>>() else { return };
    if backends.is_empty() {
        return;
    }
    if !backends.iter().any(|backend| backend.load_balancing.policy.is_by_hash()) {
        let message = "no Backend of this rule chooses endpoints by a hash: set `loadBalancing.policy` of one to RingHash or Maglev";
        check.report(document, path, message, None);
    }
    let tcp = backends.iter().any(|backend| backend.protocol == BackendProtocol::Tcp);
    for (j, _) in rule.hash_on.iter().enumerate().filter(|(_, key)| tcp && **key != HashKey::ClientAddress) {
        let message = "a TCP connection can only be told from others by its `clientAddress`";
        check.report(document, &[path, &[j.into()]].concat(), message, None);
    }
}
