//! The routes that one listener serves, as a route configuration.
//!
//! Envoy takes the first route that matches, so the routes of a virtual host are sorted: by the most specific host, and then by [`precedence`]. A request that
//! no rule for its own host matches may still match one for a wider host.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::{HeaderValueOption, header_value_option::HeaderAppendAction};
use envoy_types::pb::envoy::config::route::v3::{Route, RouteConfiguration, VirtualHost};

use self::precedence::precedence;
use crate::document::kind::{Listener, Match, Rule};
use crate::model::{Attachment, hostname};

mod action;
pub(crate) mod affinity;
mod encoding;
mod filters;
mod matching;
mod precedence;
mod tree;

pub use self::encoding::any;

/// Tells the upstream which key the filter found.
pub const ROUTE_KEY_HEADER: &str = "x-route-key";

/// Every host.
const ANY_HOST: &str = "*";

/// The route configuration called `name`, of a listener.
pub fn route_config(name: &str, listener: &Listener, attachments: &[Attachment<'_>]) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: hosts_of(attachments)
            .into_iter()
            .map(|host| virtual_host(host, listener, attachments))
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
fn virtual_host(host: &str, listener: &Listener, attachments: &[Attachment<'_>]) -> VirtualHost {
    let routes: Vec<_> =
        candidates(host, attachments).iter().map(|candidate| route(listener, candidate)).collect();
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

/// One route. Where it stands among others [`candidates`] says.
pub(super) fn route(listener: &Listener, candidate: &Candidate<'_>) -> Route {
    let Candidate { route: name, rule, condition } = candidate;
    let changes = filters::header_changes(&rule.filters);
    Route {
        name: format!("{name}/{}", rule.name),
        r#match: Some(matching::route_match(condition)),
        action: Some(action::action(listener, rule, condition)),
        request_headers_to_add: changes.request.add,
        request_headers_to_remove: changes.request.remove,
        response_headers_to_add: changes.response.add,
        response_headers_to_remove: changes.response.remove,
        typed_per_filter_config: rule.session_persistence.iter().map(affinity::session).collect(),
        ..Route::default()
    }
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
    let value = format!("%FILTER_STATE(wasm.{state}:PLAIN)%");
    filters::header(header, value, HeaderAppendAction::OverwriteIfExistsOrAdd)
}

#[cfg(test)]
mod tests;
