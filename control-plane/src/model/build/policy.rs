//! What has to hold for a TrafficPolicy, alone and beside the others.

use std::collections::BTreeMap;

use spillway_policy::config::{KeyPart, NamedPart, PathSegment, Problem};

use super::{Check, proxyless, steps};
use crate::document::kind::{Kind, Listener, ParentRef, Spec, TargetKind, TargetRef, TrafficPolicy};
use crate::document::{Document, Step};
use crate::model::{Model, enforced_policy};

pub(super) fn check(check: &mut Check<'_>, document: &Document, policy: &TrafficPolicy) {
    if policy.target_refs.is_empty() {
        check.report(
            document,
            steps!["spec", "targetRefs"],
            "a TrafficPolicy needs at least one target",
            None,
        );
    }
    let targets = || policy.target_refs.iter().enumerate();
    check.unique(
        document,
        targets().map(|(i, target)| {
            (
                (target.kind.name(), &target.name, &target.section_name),
                steps!["spec", "targetRefs", i].to_vec(),
            )
        }),
        &["name", "kind", "sectionName"],
        |(kind, name, _)| format!("there is a reference to the {kind} `{name}` already"),
    );
    for (i, target) in
        targets().filter(|(i, _)| document.is_sound(steps!["spec", "targetRefs", *i], &["kind"]))
    {
        let kind = match target.kind {
            TargetKind::Gateway => Kind::Gateway,
            TargetKind::Route => Kind::Route,
        };
        check.resolve(
            document,
            steps!["spec", "targetRefs", i],
            kind,
            &target.name,
            target.section_name.as_deref(),
        );
        let covered = covered(check, target);
        proxyless::policy(check, document, i, &covered);
        has_requests(check, document, i, &covered);
    }
    for problem in enforced_policy(&document.name, policy, Vec::new()).problems() {
        report(check, document, problem);
    }
    for (path, key) in keys(policy) {
        if !document.has_errors
            // A policy with a route key of its own sets it for its own targets.
            && policy.route_key.is_empty()
            && let Some(at) = key.iter().position(|part| *part == KeyPart::Named(NamedPart::RouteKey))
            && let Some(target) = policy.target_refs.iter().find(|target| !has_route_key(check, target))
        {
            let message =
                format!("no policy sets a route key for the {} `{}`", target.kind.name(), target.name);
            let help = "add routeKey to this policy, or to one for the same traffic".to_owned();
            check.report(document, &[&path[..], steps![at]].concat(), message, Some(help));
        }
    }
}

/// What a target covers, as the references of a Route that is attached there.
fn covered(check: &Check<'_>, target: &TargetRef) -> Vec<ParentRef> {
    match target.kind {
        TargetKind::Gateway => {
            vec![ParentRef { name: target.name.clone(), section_name: target.section_name.clone() }]
        }
        TargetKind::Route => {
            check.route(&target.name).map(|route| route.parent_refs.clone()).unwrap_or_default()
        }
    }
}

/// A listener that passes bytes on has no requests: a policy for it would be accepted and never enforced.
fn has_requests(check: &mut Check<'_>, document: &Document, i: usize, covered: &[ParentRef]) {
    let bytes_only = covered.iter().find_map(|parent| {
        let listeners = &check.gateway(&parent.name)?.listeners;
        let is_meant = |listener: &&Listener| {
            parent.section_name.as_ref().is_none_or(|section| *section == listener.name)
        };
        let first = listeners.iter().find(is_meant)?;
        let requests = listeners.iter().filter(is_meant).any(|listener| listener.protocol.is_http());
        (!requests).then(|| (first.name.clone(), parent.name.clone()))
    });
    if let Some((listener, gateway)) = bytes_only {
        let message = format!(
            "the listener `{listener}` of the Gateway `{gateway}` passes bytes on and knows no requests: nothing would enforce a policy there"
        );
        check.report(document, steps!["spec", "targetRefs", i, "name"], message, None);
    }
}

fn report(check: &mut Check<'_>, document: &Document, Problem { path, message }: Problem) {
    let steps = path.into_iter().map(|segment| match segment {
        PathSegment::Field(name) => Step::Field(name),
        PathSegment::Index(index) => Step::Item(index),
    });
    let path: Vec<_> = std::iter::once(Step::Field("spec")).chain(steps).collect();
    check.report(document, &path, message, None);
}

/// Every key of the policy's rules and where it stands.
fn keys(policy: &TrafficPolicy) -> Vec<(Vec<Step>, &[KeyPart])> {
    let limits = policy.rate_limits.iter().enumerate();
    let breakers = policy.circuit_breakers.iter().enumerate();
    limits
        .map(|(i, limit)| (steps!["spec", "rateLimits", i, "key"].to_vec(), limit.key.as_slice()))
        .chain(breakers.map(|(i, breaker)| {
            (steps!["spec", "circuitBreakers", i, "key"].to_vec(), breaker.key.as_slice())
        }))
        .chain(
            policy
                .concurrency
                .iter()
                .enumerate()
                .map(|(i, rule)| (steps!["spec", "concurrency", i, "key"].to_vec(), rule.key.as_slice())),
        )
        .collect()
}

/// Whether some policy makes a route key for at least a part of a target's traffic.
fn has_route_key(check: &Check<'_>, target: &TargetRef) -> bool {
    check.all(Kind::TrafficPolicy).any(|document| match &document.spec {
        // What was wrong with it may have been its route key.
        _ if document.has_errors => true,
        Some(Spec::TrafficPolicy(policy)) => {
            !policy.route_key.is_empty()
                && policy.target_refs.iter().any(|other| overlap(check, target, other))
        }
        _ => false,
    })
}

/// Whether two targets have traffic in common.
fn overlap(check: &Check<'_>, one: &TargetRef, other: &TargetRef) -> bool {
    let sections = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
    match (one.kind, other.kind) {
        (TargetKind::Gateway, TargetKind::Gateway) | (TargetKind::Route, TargetKind::Route) => {
            one.name == other.name && sections(&one.section_name, &other.section_name)
        }
        (TargetKind::Route, TargetKind::Gateway) => overlap(check, other, one),
        // A route that cannot be read has been reported; it may be attached to anything.
        (TargetKind::Gateway, TargetKind::Route) => check.route(&other.name).is_none_or(|route| {
            route
                .parent_refs
                .iter()
                .any(|parent| parent.name == one.name && sections(&parent.section_name, &one.section_name))
        }),
    }
}

/// Of two route keys for exactly the same traffic neither could win.
pub(super) fn route_keys(check: &mut Check<'_>) {
    let mut first = BTreeMap::<_, (&str, &Document)>::new();
    let mut conflicts = Vec::new();
    for document in check.all(Kind::TrafficPolicy) {
        let Some(Spec::TrafficPolicy(policy)) = &document.spec else { continue };
        if policy.route_key.is_empty() {
            continue;
        }
        for (i, target) in policy.target_refs.iter().enumerate() {
            if !document.is_sound(steps!["spec", "targetRefs", i], &["kind", "name", "sectionName"]) {
                continue;
            }
            let key = (target.kind.name(), &target.name, &target.section_name);
            match first.get(&key) {
                // The same target twice in one policy has its own error.
                Some((other, _)) if *other == document.name => {}
                Some((other, owner)) => {
                    let location = owner.location(steps!["spec", "routeKey"]);
                    let message =
                        format!("the policy `{other}` sets a route key for the same target, at {location}");
                    conflicts.push((document, steps!["spec", "targetRefs", i].to_vec(), message));
                }
                None => {
                    first.insert(key, (&document.name, document));
                }
            }
        }
    }
    for (document, path, message) in conflicts {
        let help = "keep one of the two, or let one target something more specific".to_owned();
        check.report(document, &path, message, Some(help));
    }
}

/// What the filter itself would say about a Gateway's configuration, so that no proxy has to refuse what was accepted here.
pub(super) fn whole(check: &mut Check<'_>, model: &Model, gateway: &str) {
    let configuration = model.filter_configuration(gateway);
    for Problem { path, message } in configuration.problems() {
        let [PathSegment::Field(_), PathSegment::Index(index), rest @ ..] = path.as_slice() else {
            continue;
        };
        let name = configuration.policies.get(*index).map(|policy| policy.name.as_str());
        if let Some(document) = name.and_then(|name| check.find(Kind::TrafficPolicy, name)) {
            report(check, document, Problem { path: rest.to_vec(), message });
        }
    }
}
