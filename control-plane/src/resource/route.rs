//! The routes that one listener serves, as a route configuration.
//!
//! Envoy takes the first route that matches, so the routes of a virtual host are sorted: by the most specific host, and then by [`precedence`]. A request that
//! no rule for its own host matches may still match one for a wider host.

use std::borrow::Cow;

use envoy_types::pb::envoy::config::core::v3::{HeaderValueOption, header_value_option::HeaderAppendAction};
use envoy_types::pb::envoy::config::route::v3::{Route, RouteConfiguration, VirtualHost};
use envoy_types::pb::google::protobuf::Any;

use self::encoding::Host;
use self::precedence::precedence;
use crate::document::kind::{Listener, Match, Rule};
use crate::model::{Announced, Attachment};

mod action;
pub(crate) mod affinity;
mod encoding;
mod entry;
mod filters;
mod hosts;
mod matching;
mod precedence;
mod tree;

pub use self::entry::{Entry, entries};
pub(crate) use self::hosts::Hosts;

/// Tells the upstream which key the filter found.
pub const ROUTE_KEY_HEADER: &str = "x-route-key";

/// The route configuration called `name`, of routes with what a listener has of each ([`entries`]), in the order of their names. A header that the filter
/// never announces would cost every request a look.
pub(crate) fn route_config<'a>(
    name: &str,
    announced: Announced,
    attached: impl IntoIterator<Item = (&'a Attachment<'a>, &'a [Entry])>,
) -> Any {
    let hosts =
        Hosts::new(attached.into_iter().map(|(attachment, entries)| (&attachment.hostnames[..], entries)));
    let shell = RouteConfiguration {
        name: name.to_owned(),
        request_headers_to_add: announced.route_key.then(route_key_header).into_iter().collect(),
        response_headers_to_add: announced.limits.then(limit_headers).unwrap_or_default(),
        // `shop.example.com:8080` is the host `shop.example.com`.
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    };
    encoding::any(&shell, hosts.names().map(|host| virtual_host(host, &hosts)))
}

/// One match of one rule.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    /// The route's name.
    pub(crate) route: &'a str,
    pub(crate) rule: &'a Rule,
    pub(crate) condition: Cow<'a, Match>,
}

/// The routes of a listener by host.
pub(crate) fn hosts<'r, 'a>(attachments: &'r [Attachment<'a>]) -> Hosts<'a, &'r Attachment<'a>> {
    Hosts::new(attachments.iter().map(|attachment| (&attachment.hostnames[..], attachment)))
}

/// Everything that may serve a host, in the order of precedence.
pub(crate) fn candidates<'a>(host: &str, hosts: &Hosts<'a, &Attachment<'a>>) -> Vec<Candidate<'a>> {
    in_order(hosts.serving(host), |attachment| candidates_of(attachment), |one| precedence(&one.condition))
}

/// The matches of a route, as written. A rule without matches matches everything.
fn candidates_of<'a>(attachment: &Attachment<'a>) -> impl Iterator<Item = Candidate<'a>> + use<'a> {
    let (route, rules) = (attachment.name, &attachment.route.rules);
    rules.iter().flat_map(move |rule| {
        let any = rule.matches.is_empty().then(|| Cow::Owned(Match::default()));
        let conditions = rule.matches.iter().map(Cow::Borrowed).chain(any);
        conditions.map(move |condition| Candidate { route, rule, condition })
    })
}

/// What more specific hosts have goes before what wider ones have, and each of these by precedence. What is still equal stays as it comes: routes by their
/// names, and matches as written.
fn in_order<S, I: IntoIterator>(
    served: Vec<Vec<S>>,
    of: impl Fn(S) -> I,
    precedence: impl Fn(&I::Item) -> precedence::Precedence,
) -> Vec<I::Item> {
    let ordered = served.into_iter().map(|equal| {
        let mut all: Vec<_> = equal.into_iter().flat_map(&of).collect();
        all.sort_by_key(&precedence);
        all
    });
    let mut ordered = ordered.collect::<Vec<_>>();
    match ordered.as_mut_slice() {
        [only] => std::mem::take(only),
        _ => ordered.into_iter().flatten().collect(),
    }
}

/// The routes as a tree where they are many, and as a list where they are few.
fn virtual_host<'a>(host: &str, hosts: &Hosts<'_, &'a [Entry]>) -> Host<'a> {
    let routes = in_order(hosts.serving(host), |entries| entries, |entry| entry.precedence);
    Host {
        shell: VirtualHost {
            name: host.to_owned(),
            domains: vec![host.to_owned()],
            ..VirtualHost::default()
        },
        leaves: tree::tree(&routes),
        routes,
    }
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
