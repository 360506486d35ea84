//! What has to hold for the matches of a rule.

use crate::document::kind::{
    GrpcMatch, Kind, Match, PathMatch, PathMatchKind, Route, RouteKeyMatch, Rule, Spec, TargetKind,
    ValueMatchKind,
};
use crate::document::{Document, Step, expression, syntax};
use crate::model::build::{Check, steps};

pub(super) fn check(check: &mut Check<'_>, document: &Document, route: &Route, i: usize, rule: &Rule) {
    for (j, each) in rule.matches.iter().enumerate() {
        let place = steps!["spec", "rules", i, "matches", j];
        let under = |rest: &[Step]| [place, rest].concat();
        let headers = each.headers.iter().enumerate();
        check.unique(
            document,
            headers.map(|(k, header)| (header.name.to_ascii_lowercase(), under(steps!["headers", k]))),
            &["name"],
            |name| format!("the header `{name}` is matched already"),
        );
        let parameters = each.query_params.iter().enumerate();
        check.unique(
            document,
            parameters.map(|(k, parameter)| (parameter.name.as_str(), under(steps!["queryParams", k]))),
            &["name"],
            |name| format!("the query parameter `{name}` is matched already"),
        );
        let values = each.headers.iter().enumerate().map(|(k, one)| ("headers", k, one.kind, &one.value));
        let parameters =
            each.query_params.iter().enumerate().map(|(k, one)| ("queryParams", k, one.kind, &one.value));
        for (field, k, kind, value) in values.chain(parameters) {
            if kind == ValueMatchKind::RegularExpression {
                right(check, document, &under(steps![field, k]), expression::check(value));
            }
        }
        if let Some(PathMatch { kind, value }) = &each.path {
            let checked = match kind {
                PathMatchKind::Exact | PathMatchKind::PathPrefix => syntax::check_matched_path(value),
                PathMatchKind::RegularExpression => expression::check(value),
            };
            right(check, document, &under(steps!["path"]), checked);
        }
        if let Some(grpc) = &each.grpc {
            calls(check, document, &under(steps!["grpc"]), grpc, each);
        }
        if each.route_key.is_some() && !has_route_key(check, route) {
            let message = "no policy for a Gateway that serves this Route makes a route key";
            let help = "a TrafficPolicy whose target is the Gateway needs a routeKey: the Route is chosen by it, so it has to be known before";
            check.report(document, &under(steps!["routeKey"]), message, Some(help.into()));
        }
    }
}

/// Reports what is wrong with the `value` of something.
fn right(check: &mut Check<'_>, document: &Document, place: &[Step], checked: Result<(), String>) {
    if let Err(message) = checked
        && document.is_sound(place, &["value"])
    {
        check.report(document, &[place, steps!["value"]].concat(), message, None);
    }
}

fn calls(check: &mut Check<'_>, document: &Document, place: &[Step], grpc: &GrpcMatch, each: &Match) {
    if grpc.service.is_none() && grpc.method.is_none() && document.is_sound(place, &["service", "method"]) {
        check.report(document, place, "expected a service, a method, or both", None);
    }
    if each.path.is_some() {
        check.report(
            document,
            place,
            "a match has `path` or `grpc`: a call's path is its service and method",
            None,
        );
    }
    if each.method.is_some() {
        check.report(document, place, "a match has `method` or `grpc`: every gRPC call is a POST", None);
    }
}

/// Whether the key is known before a Route has been chosen: each Gateway that serves it needs a policy of its own, or one for the listener.
pub(super) fn has_route_key(check: &Check<'_>, route: &Route) -> bool {
    route.parent_refs.iter().all(|parent| {
        check.all(Kind::TrafficPolicy).any(|document| match &document.spec {
            // What is wrong with it may be its key.
            _ if document.has_errors => true,
            Some(Spec::TrafficPolicy(policy)) if !policy.route_key.is_empty() => {
                policy.target_refs.iter().any(|target| {
                    target.kind == TargetKind::Gateway
                        && target.name == parent.name
                        && (target.section_name.is_none() || target.section_name == parent.section_name)
                })
            }
            _ => false,
        })
    })
}

/// What is compared, in a form that is equal where the same requests match.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity<'a> {
    path: (PathMatchKind, &'a str),
    method: Option<&'a str>,
    headers: Vec<(String, ValueMatchKind, &'a str)>,
    query_params: Vec<(&'a str, ValueMatchKind, &'a str)>,
    grpc: Option<&'a GrpcMatch>,
    route_key: Option<&'a RouteKeyMatch>,
}

fn identity(each: &Match) -> Identity<'_> {
    let Match { path, method, headers, query_params, grpc, route_key, mqtt: _ } = each;
    let path =
        path.as_ref().map_or((PathMatchKind::PathPrefix, "/"), |path| (path.kind, path.value.as_str()));
    let mut headers: Vec<_> = headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), header.kind, header.value.as_str()))
        .collect();
    headers.sort_unstable();
    let mut query_params: Vec<_> =
        query_params.iter().map(|one| (one.name.as_str(), one.kind, one.value.as_str())).collect();
    query_params.sort_unstable();
    Identity {
        // `/a/` as a prefix is `/a`.
        path: match path {
            (PathMatchKind::PathPrefix, value) => (PathMatchKind::PathPrefix, value.trim_end_matches('/')),
            other => other,
        },
        method: method.as_deref(),
        headers,
        query_params,
        grpc: grpc.as_ref(),
        route_key: route_key.as_ref(),
    }
}

/// The matches of a rule and where they stand.
pub(super) fn identities(i: usize, rule: &Rule) -> Vec<(Identity<'_>, Vec<Step>)> {
    const EVERYTHING: &Match = &Match {
        path: None,
        method: None,
        headers: Vec::new(),
        query_params: Vec::new(),
        grpc: None,
        route_key: None,
        mqtt: None,
    };
    match rule.matches.as_slice() {
        [] => vec![(identity(EVERYTHING), steps!["spec", "rules", i].to_vec())],
        some => some
            .iter()
            .enumerate()
            .map(|(j, each)| (identity(each), steps!["spec", "rules", i, "matches", j].to_vec()))
            .collect(),
    }
}
