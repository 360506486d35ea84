//! The routes that one listener serves, as a route configuration.
//!
//! Precedence is the Gateway API's: the most specific host, then an exact path over a prefix, a longer prefix over a shorter one, a method over
//! none, more headers over fewer, and in the end the routes' names and the order in which rules and matches are written. Envoy takes the
//! first route that matches, so the routes of a virtual host are sorted by it. A request that no rule for its own host matches may still match
//! one for a wider host.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    DataSource, HeaderValue, HeaderValueOption, data_source, header_value_option::HeaderAppendAction,
};
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, HeaderMatcher, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
    WeightedCluster, header_matcher::HeaderMatchSpecifier, route::Action, route_action::ClusterSpecifier,
    route_match::PathSpecifier, weighted_cluster::ClusterWeight,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

use super::{duration, uint32};
use crate::document::kind::{HeaderMatch, Match, PathMatch, PathMatchKind, Rule};
use crate::model::{Attachment, hostname};

mod encoding;
mod tree;

pub use self::encoding::any;

/// Tells the upstream which key the filter found.
pub const ROUTE_KEY_HEADER: &str = "x-route-key";

/// Every host.
const ANY_HOST: &str = "*";

/// The route configuration called `name`.
pub fn route_config(name: &str, attachments: &[Attachment<'_>]) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: hosts_of(attachments)
            .into_iter()
            .map(|host| virtual_host(host, attachments))
            .collect(),
        request_headers_to_add: vec![route_key_header()],
        response_headers_to_add: limit_headers(),
        // `shop.example.com:8080` is the host `shop.example.com`.
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    }
}

/// The hosts of a listener that have rules of their own.
pub(crate) fn hosts_of<'a>(attachments: &[Attachment<'a>]) -> BTreeSet<&'a str> {
    attachments.iter().flat_map(|attachment| hosts(attachment)).collect()
}

fn hosts<'a>(attachment: &Attachment<'a>) -> Vec<&'a str> {
    if attachment.hostnames.is_empty() { vec![ANY_HOST] } else { attachment.hostnames.clone() }
}

/// One match of one rule.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    /// The route's name.
    pub(crate) route: &'a str,
    pub(crate) rule: &'a Rule,
    pub(crate) condition: Match,
}

/// Everything that may serve a host (one of [`hosts_of`]), in the order of precedence.
pub(crate) fn candidates<'a>(host: &str, attachments: &[Attachment<'a>]) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for attachment in attachments {
        // A route may name several hosts that cover this one: the most specific counts.
        let covering = hosts(attachment).into_iter().filter(|wide| covers(wide, host));
        let Some(specificity) = covering.map(specificity).max() else { continue };
        for rule in &attachment.route.rules {
            for condition in matches(rule) {
                let order = (Reverse(specificity), precedence(&condition));
                candidates.push((order, Candidate { route: attachment.name, rule, condition }));
            }
        }
    }
    // Stable, and routes come in the order of their names.
    candidates.sort_by_key(|(order, _)| *order);
    candidates.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The routes as a tree where they are many, and as a list where they are few.
fn virtual_host(host: &str, attachments: &[Attachment<'_>]) -> VirtualHost {
    let routes: Vec<_> = candidates(host, attachments)
        .iter()
        .map(|Candidate { route: name, rule, condition }| route(name, rule, condition))
        .collect();
    let matcher = tree::tree(&routes);
    VirtualHost {
        name: host.to_owned(),
        domains: vec![host.to_owned()],
        routes: if matcher.is_some() { Vec::new() } else { routes },
        matcher,
        ..VirtualHost::default()
    }
}

fn covers(wide: &str, narrow: &str) -> bool {
    wide == ANY_HOST || hostname::covers(wide, narrow)
}

/// An exact host before a wildcard, a longer wildcard before a shorter one.
fn specificity(host: &str) -> (bool, usize) {
    (!host.starts_with('*'), host.len())
}

/// A rule without matches matches everything.
fn matches(rule: &Rule) -> Vec<Match> {
    if rule.matches.is_empty() { vec![Match::default()] } else { rule.matches.clone() }
}

type Precedence = (Reverse<bool>, Reverse<usize>, Reverse<bool>, Reverse<usize>);

fn precedence(condition: &Match) -> Precedence {
    let (exact, length) = match &condition.path {
        Some(PathMatch { kind: PathMatchKind::Exact, value }) => (true, value.len()),
        Some(PathMatch { kind: PathMatchKind::PathPrefix, value }) => {
            (false, value.trim_end_matches('/').len())
        }
        None => (false, 0),
    };
    (Reverse(exact), Reverse(length), Reverse(condition.method.is_some()), Reverse(condition.headers.len()))
}

pub(super) fn route(name: &str, rule: &Rule, condition: &Match) -> Route {
    Route {
        name: format!("{name}/{}", rule.name),
        r#match: Some(route_match(condition)),
        action: Some(action(rule)),
        ..Route::default()
    }
}

fn route_match(condition: &Match) -> RouteMatch {
    let method = condition.method.iter().map(|method| exactly(":method", method));
    let headers = condition.headers.iter().map(|HeaderMatch { name, value, kind: _ }| exactly(name, value));
    RouteMatch {
        path_specifier: Some(path_specifier(condition.path.as_ref())),
        headers: method.chain(headers).collect(),
        ..RouteMatch::default()
    }
}

fn path_specifier(path: Option<&PathMatch>) -> PathSpecifier {
    match path {
        Some(PathMatch { kind: PathMatchKind::Exact, value }) => PathSpecifier::Path(value.clone()),
        Some(PathMatch { kind: PathMatchKind::PathPrefix, value }) => match value.trim_end_matches('/') {
            "" => PathSpecifier::Prefix("/".to_owned()),
            prefix => PathSpecifier::PathSeparatedPrefix(prefix.to_owned()),
        },
        None => PathSpecifier::Prefix("/".to_owned()),
    }
}

fn exactly(name: &str, value: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_ascii_lowercase(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(value.to_owned())),
            ..StringMatcher::default()
        })),
        ..HeaderMatcher::default()
    }
}

/// Where a rule leads. A rule none of whose backends has a weight answers 500 itself, as the Gateway API asks of rules that lead nowhere.
fn action(rule: &Rule) -> Action {
    let weighted: Vec<_> = rule.backend_refs.iter().filter(|reference| reference.weight > 0).collect();
    let clusters = match weighted.as_slice() {
        [] => return nowhere(),
        [only] => ClusterSpecifier::Cluster(only.name.clone()),
        several => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: several
                .iter()
                .map(|reference| ClusterWeight {
                    name: reference.name.clone(),
                    weight: Some(uint32(reference.weight)),
                    ..ClusterWeight::default()
                })
                .collect(),
            ..WeightedCluster::default()
        }),
    };
    Action::Route(RouteAction {
        cluster_specifier: Some(clusters),
        // Envoy's default of 15 s would cut long downloads and streams that nobody asked to cut; the listener's idle timeout still
        // ends streams on which nothing moves.
        timeout: Some(duration(Duration::ZERO)),
        ..RouteAction::default()
    })
}

fn nowhere() -> Action {
    Action::DirectResponse(DirectResponseAction {
        status: 500,
        body: Some(DataSource {
            specifier: Some(data_source::Specifier::InlineString(
                "no backend of this rule has a weight above 0\n".to_owned(),
            )),
            ..DataSource::default()
        }),
        ..DirectResponseAction::default()
    })
}

/// The filter leaves the key in filter state, which costs less than setting a header there would, and leaves the route that Envoy has already
/// chosen alone. Where there is no key there is no header.
fn route_key_header() -> HeaderValueOption {
    from_filter_state(ROUTE_KEY_HEADER, "spillway_key")
}

/// What rules with `rateLimitHeaders` tell about an admitted request. On a rejected one the filter sets them itself.
fn limit_headers() -> Vec<HeaderValueOption> {
    vec![
        from_filter_state("ratelimit", "spillway_ratelimit"),
        from_filter_state("ratelimit-policy", "spillway_ratelimit_policy"),
    ]
}

fn from_filter_state(header: &str, state: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: header.to_owned(),
            value: format!("%FILTER_STATE(wasm.{state}:PLAIN)%"),
            ..HeaderValue::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

#[cfg(test)]
mod tests;
