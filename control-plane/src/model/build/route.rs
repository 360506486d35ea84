//! What has to hold for a Route.

use super::{Check, Target, proxyless, steps};
use crate::document::Document;
use crate::document::kind::{FilterKind, Kind, Route, Rule, Timeouts};
use crate::model::hostname;

mod affinity;
mod bytes;
mod filters;
mod matching;

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
        backends(check, document, route, i, rule);
        matching::check(check, document, route, i, rule);
        filters::check(check, document, route, i, rule);
        behaviour(check, document, i, rule);
        affinity::check(check, document, route, i, rule);
    }
    // Rules have no order by which one of two with the same match could win.
    check.unique(document, rules().flat_map(|(i, rule)| matching::identities(i, rule)), &[], |_| {
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
        let named: Vec<_> = gateway.listeners.iter().filter(|listener| parent.reaches(listener)).collect();
        if named.is_empty() && section.is_none() && all_known {
            let message = format!(
                "the listeners of the Gateway `{}` speak TCP or TLS, so the one that serves this Route has to be named",
                parent.name
            );
            check.report(
                document,
                &[path, steps!["name"]].concat(),
                message,
                Some("add a sectionName".into()),
            );
            all_known = false;
        }
        bytes::parent(check, document, i, route, &named);
        listeners.extend(named.into_iter().map(|listener| listener.hostname.as_deref()));
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

fn backends(check: &mut Check<'_>, document: &Document, route: &Route, i: usize, rule: &Rule) {
    let list = steps!["spec", "rules", i, "backendRefs"];
    let redirects = rule.filters.iter().any(|filter| filter.kind == FilterKind::RequestRedirect);
    match (rule.backend_refs.is_empty(), redirects) {
        (true, false) => {
            check.report(document, list, "a rule needs at least one backendRef, or a RequestRedirect", None);
        }
        (false, true) => {
            let message = "a rule that redirects sends nothing to a Backend, so it has no backendRefs";
            check.report(document, list, message, None);
        }
        _ => {}
    }
    for (j, reference) in rule.backend_refs.iter().enumerate() {
        let path = [list, steps![j]].concat();
        check.resolve(document, &path, Kind::Backend, &reference.name, None);
        bytes::backend(check, document, &path, route, &reference.name);
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

/// What `timeouts` and `retry` say about each other.
fn behaviour(check: &mut Check<'_>, document: &Document, i: usize, rule: &Rule) {
    let Timeouts { request, backend_request, idle: _, lifetime: _ } = &rule.timeouts;
    if let (Some(request), Some(backend)) = (request, backend_request)
        && !request.is_zero()
        && (backend > request || backend.is_zero())
    {
        let path = steps!["spec", "rules", i, "timeouts", "backendRequest"];
        let message = format!("one attempt may not take longer than all together: {request}");
        check.report(document, path, message, None);
    }
    let Some(retry) = &rule.retry else { return };
    let items = |field: &'static str, j| steps!["spec", "rules", i, "retry", field, j].to_vec();
    let codes = retry.codes.iter().enumerate().map(|(j, code)| (*code, items("codes", j)));
    check.unique(document, codes, &[], |code| format!("the code {code} is there already"));
    let conditions = retry.conditions.iter().enumerate().map(|(j, one)| (*one, items("conditions", j)));
    check.unique(document, conditions, &[], |one| format!("the condition `{}` is there already", one.name()));
    if retry.backoff.is_zero() {
        let path = steps!["spec", "rules", i, "retry", "backoff"];
        check.report(document, path, "a pause has to be at least 1ms", None);
    }
}
