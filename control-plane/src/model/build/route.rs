//! What has to hold for a Route.

use super::{Check, Target, proxyless, steps};
use crate::document::kind::{Kind, Match, Route, Rule};
use crate::document::{Document, Step};
use crate::model::hostname;

pub(super) fn check(check: &mut Check<'_>, document: &Document, route: &Route) {
    if route.parent_refs.is_empty() {
        let message = "a Route needs at least one Gateway that serves it";
        check.report(document, steps!["spec", "parentRefs"], message, None);
    }
    if route.rules.is_empty() {
        check.report(document, steps!["spec", "rules"], "a Route needs at least one rule", None);
    }
    parents(check, document, route);
    proxyless::route(check, document, route);
    let rules = || route.rules.iter().enumerate();
    check.unique(
        document,
        rules().map(|(i, rule)| (rule.name.as_str(), steps!["spec", "rules", i].to_vec())),
        &["name"],
        |name| format!("there is a rule `{name}` already"),
    );
    for (i, rule) in rules() {
        backends(check, document, i, rule);
        for (j, each) in rule.matches.iter().enumerate() {
            let headers = each.headers.iter().enumerate();
            check.unique(
                document,
                headers.map(|(k, header)| {
                    (
                        header.name.to_ascii_lowercase(),
                        steps!["spec", "rules", i, "matches", j, "headers", k].to_vec(),
                    )
                }),
                &["name"],
                |name| format!("the header `{name}` is matched already"),
            );
        }
    }
    // Rules have no order by which one of two with the same match could win.
    check.unique(document, rules().flat_map(|(i, rule)| matches(i, rule)), &[], |_| {
        "another match of this Route is the same, so this one could never be chosen".into()
    });
}

fn parents(check: &mut Check<'_>, document: &Document, route: &Route) {
    let parents = || route.parent_refs.iter().enumerate();
    check.unique(
        document,
        parents().map(|(i, parent)| {
            ((parent.name.as_str(), parent.section_name.as_deref()), steps!["spec", "parentRefs", i].to_vec())
        }),
        &["name", "sectionName"],
        |(name, _)| format!("there is a reference to `{name}` already"),
    );
    let mut listeners = Vec::new();
    let mut all_known = true;
    for (i, parent) in parents() {
        let path = steps!["spec", "parentRefs", i];
        let section = parent.section_name.as_deref();
        let target = check.resolve(document, path, Kind::Gateway, &parent.name, section);
        all_known &= matches!(target, Target::Found(target) if !target.has_errors);
        all_known &= document.is_sound(path, &["name", "sectionName"]);
        let Some(gateway) = check.gateway(&parent.name) else { continue };
        if gateway.listeners.is_empty() && all_known {
            let message = format!("the Gateway `{}` has no listeners, so it serves no Routes", parent.name);
            check.report(document, &[path, steps!["name"]].concat(), message, None);
            all_known = false;
        }
        let named = gateway
            .listeners
            .iter()
            .filter(|listener| section.is_none_or(|section| section == listener.name));
        listeners.extend(named.map(|listener| listener.hostname.as_deref()));
    }
    check.unique(
        document,
        route
            .hostnames
            .iter()
            .enumerate()
            .map(|(i, host)| (host.as_str(), steps!["spec", "hostnames", i].to_vec())),
        &[],
        |host| format!("the hostname `{host}` is there already"),
    );
    for (i, host) in route.hostnames.iter().enumerate().filter(|_| all_known) {
        let served = listeners.iter().any(|listener| {
            listener
                .is_none_or(|listener| hostname::covers(listener, host) || hostname::covers(host, listener))
        });
        if !served {
            let hosts: Vec<_> = listeners.iter().flatten().map(|host| format!("`{host}`")).collect();
            let message = format!("no listener that serves this Route serves `{host}`");
            let help = format!("they serve {}", hosts.join(", "));
            check.report(document, steps!["spec", "hostnames", i], message, Some(help));
        }
    }
}

fn backends(check: &mut Check<'_>, document: &Document, i: usize, rule: &Rule) {
    let list = steps!["spec", "rules", i, "backendRefs"];
    if rule.backend_refs.is_empty() {
        check.report(document, list, "a rule needs at least one backendRef", None);
        return;
    }
    for (j, reference) in rule.backend_refs.iter().enumerate() {
        let path = [list, steps![j]].concat();
        check.resolve(document, &path, Kind::Backend, &reference.name, None);
    }
    check.unique(
        document,
        rule.backend_refs
            .iter()
            .enumerate()
            .map(|(j, reference)| (reference.name.as_str(), [list, steps![j]].concat())),
        &["name"],
        |name| format!("there is a reference to `{name}` already"),
    );
    let sum: u64 = rule.backend_refs.iter().map(|reference| u64::from(reference.weight)).sum();
    if sum > u32::MAX.into() {
        check.report(document, list, format!("the weights add up to {sum}, more than {}", u32::MAX), None);
    }
}

/// A rule's matches in a form that is equal where they match the same, and where they stand.
fn matches(i: usize, rule: &Rule) -> Vec<(impl Ord, Vec<Step>)> {
    let key = |each: &Match| {
        let path = each
            .path
            .as_ref()
            .map_or(("PathPrefix".into(), "/"), |path| (format!("{:?}", path.kind), path.value.as_str()));
        let mut headers: Vec<_> = each
            .headers
            .iter()
            .map(|header| (header.name.to_ascii_lowercase(), header.value.clone()))
            .collect();
        headers.sort_unstable();
        // `/a/` as a prefix is `/a`.
        let value = if path.0 == "PathPrefix" { path.1.trim_end_matches('/') } else { path.1 };
        (path.0, value.to_owned(), each.method.clone(), headers)
    };
    match rule.matches.as_slice() {
        [] => vec![(key(&Match::default()), steps!["spec", "rules", i].to_vec())],
        some => some
            .iter()
            .enumerate()
            .map(|(j, each)| (key(each), steps!["spec", "rules", i, "matches", j].to_vec()))
            .collect(),
    }
}
