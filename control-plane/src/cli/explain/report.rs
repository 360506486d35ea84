//! An explanation, for programs and for people.

use std::fmt;

use serde::Serialize;
use spillway_policy::engine::BreakerState;
use spillway_policy::engine::explain::{Opinion, Says};

use super::request::{Early, Request};
use crate::cli::output::{printable, table};
use crate::document::kind::{GrpcMatch, Match, PathMatch, PathMatchKind};

/// What becomes of a request at one listener.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explanation {
    #[serde(flatten)]
    pub(super) listening: Listening,
    pub(super) request: Seen,
    pub(super) route: Option<Route>,
    pub(super) route_key: Option<FromPolicy>,
    pub(super) priority: Option<FromPolicy>,
    /// In the order in which they are asked.
    pub(super) rules: Vec<Rule>,
    pub(super) outcome: Outcome,
}

/// Who gets the request.
#[derive(Debug, Serialize)]
pub(super) struct Listening {
    pub(super) gateway: String,
    /// `None`: Envoy's listeners and routes come from elsewhere.
    pub(super) listener: Option<String>,
    pub(super) address: Option<String>,
}

/// The request once Envoy has tidied it up.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    method: String,
    host: String,
    path: String,
}

impl From<&Request> for Seen {
    fn from(request: &Request) -> Self {
        Self { method: request.method().to_owned(), host: request.host.clone(), path: request.target.clone() }
    }
}

/// The rule of a Route that serves it.
#[derive(Debug, Serialize)]
pub(super) struct Route {
    /// `<route>/<rule>`.
    pub(super) name: String,
    /// The hostname that it was found under.
    pub(super) host: String,
    pub(super) matched: String,
    pub(super) backends: Vec<BackendShare>,
}

/// A Backend that the rule leads to.
#[derive(Debug, Serialize)]
pub(super) struct BackendShare {
    pub(super) name: String,
    pub(super) weight: u32,
    /// Whether it is the one that the rules were asked about.
    pub(super) explained: bool,
}

/// A value and the policy that it comes from.
#[derive(Debug, Serialize)]
pub(super) struct FromPolicy {
    policy: String,
    /// `None`: the request does not give one.
    value: Option<String>,
}

impl From<(String, Option<Vec<u8>>)> for FromPolicy {
    fn from((policy, value): (String, Option<Vec<u8>>)) -> Self {
        Self { policy, value: value.map(|value| String::from_utf8_lossy(&value).into_owned()) }
    }
}

impl From<(String, String)> for FromPolicy {
    fn from((policy, value): (String, String)) -> Self {
        Self { policy, value: Some(value) }
    }
}

/// One rule's word.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names that users see")]
pub(super) struct Rule {
    kind: &'static str,
    policy: String,
    rule: String,
    mode: &'static str,
    key: Option<String>,
    passes: bool,
    says: String,
}

impl From<Opinion> for Rule {
    fn from(Opinion { kind, policy, rule, is_shadow, key, says }: Opinion) -> Self {
        Self {
            kind: kind.as_str(),
            policy,
            rule,
            mode: if is_shadow { "shadow" } else { "enforce" },
            key: key.map(|key| String::from_utf8_lossy(&key).into_owned()),
            passes: says.passes(),
            says: words(says),
        }
    }
}

fn words(says: Says) -> String {
    match says {
        Says::NotConcerned => "is about other requests".to_owned(),
        Says::Unlimited => "an override lifts the limit for this key".to_owned(),
        Says::Tokens { cost, left, burst, wait } => {
            let left = left.map_or_else(|| "some".to_owned(), |left| left.to_string());
            let burst = burst.map(|burst| format!(" (a full bucket holds {burst})")).unwrap_or_default();
            let wait = wait.map(|wait| format!(": too few for another {} s", wait.div_ceil(1_000_000_000)));
            format!("takes {cost} of {left} tokens{burst}{}", wait.unwrap_or_default())
        }
        Says::Breaker { state: BreakerState::Open, wait } => {
            format!("open for another {} s", wait.unwrap_or_default().div_ceil(1_000_000_000))
        }
        Says::Breaker { state, wait: _ } => state.as_str().to_owned(),
        Says::InFlight { count, limit } => format!("{count} of {limit} in flight"),
        Says::Pressure { in_force: false } => {
            "gives this request up under pressure; there is none".to_owned()
        }
        Says::Pressure { in_force: true } => "gives this request up".to_owned(),
        Says::NoAnswer { passes: true } => "no answer, and then the request passes".to_owned(),
        Says::NoAnswer { passes: false } => "no answer, and then the request is rejected".to_owned(),
    }
}

/// What becomes of the request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "result")]
pub(super) enum Outcome {
    /// It goes to a Backend.
    Admitted { backend: Option<String> },
    /// A rule answers it.
    Rejected { status: u16, by: String, retry_after: u64 },
    /// Envoy answers it without asking anybody.
    Answered { status: u16, because: String },
}

impl Explanation {
    /// Of a request that Envoy answers before it looks for a route.
    pub(super) fn early(listening: Listening, request: &Request, early: &Early) -> Self {
        let (status, because) = match early {
            Early::EscapedSlash => (400, "the path has an escaped slash".to_owned()),
            Early::Underscore(name) => (400, format!("the name of the header `{name}` has an underscore")),
        };
        Self {
            listening,
            request: request.into(),
            route: None,
            route_key: None,
            priority: None,
            rules: Vec::new(),
            outcome: Outcome::Answered { status, because },
        }
    }
}

/// A match in words.
pub(super) fn matched(condition: &Match) -> String {
    let Match { path, method, headers, query_params, grpc, route_key, mqtt: _ } = condition;
    let path = path.as_ref().map(|PathMatch { kind, value }| match kind {
        PathMatchKind::Exact => format!("path {value}"),
        PathMatchKind::PathPrefix => format!("path prefix {value}"),
        PathMatchKind::RegularExpression => format!("path like {value}"),
    });
    let method = method.as_ref().map(|method| format!("method {method}"));
    let headers = headers.iter().map(|header| format!("header {}: {}", header.name, header.value));
    let parameters = query_params.iter().map(|one| format!("query {}={}", one.name, one.value));
    let grpc = grpc.as_ref().map(|GrpcMatch { service, method }| {
        let any = || "*".to_owned();
        format!("call {}/{}", service.clone().unwrap_or_else(any), method.clone().unwrap_or_else(any))
    });
    let key = route_key.as_ref().map(|key| format!("route key {}", key.value));
    let parts: Vec<String> =
        path.into_iter().chain(grpc).chain(method).chain(headers).chain(parameters).chain(key).collect();
    if parts.is_empty() { "every request".to_owned() } else { parts.join(", ") }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listening, request, route, route_key, priority, rules, outcome } = self;
        let mut line = |name: &str, value: String| writeln!(f, "{name:<10} {}", printable(&value));
        line("request", format!("{} {}{}", request.method, request.host, request.path))?;
        line(
            "gateway",
            match (&listening.listener, &listening.address) {
                (Some(listener), Some(address)) => {
                    format!("{}, listener {listener} at {address}", listening.gateway)
                }
                _ => format!("{}, listeners and routes from elsewhere", listening.gateway),
            },
        )?;
        if let Some(Route { name, host, matched, backends }) = route {
            line("route", format!("{name} (host {host}, {matched})"))?;
            for BackendShare { name, weight, explained } in backends {
                let mark = if *explained && backends.len() > 1 { ", asked about here" } else { "" };
                line("backend", format!("{name} (weight {weight}{mark})"))?;
            }
        }
        if let Some(FromPolicy { policy, value }) = route_key {
            let value = value.as_ref().map_or("the request gives none", String::as_str);
            line("route key", format!("{value} (from {policy})"))?;
        }
        if let Some(FromPolicy { policy, value }) = priority {
            line("priority", format!("{} (from {policy})", value.as_deref().unwrap_or_default()))?;
        }
        if !rules.is_empty() {
            let rows = rules.iter().enumerate().map(|(index, rule)| {
                let Rule { kind, policy, rule, mode, key, passes, says } = rule;
                let verdict = match (passes, *mode) {
                    (true, _) => "passes",
                    (false, "shadow") => "counts",
                    (false, _) => "rejects",
                };
                [
                    (index + 1).to_string(),
                    (*kind).to_owned(),
                    format!("{policy}/{rule}"),
                    key.as_deref().map_or("-", |key| if key.is_empty() { "(empty)" } else { key }).to_owned(),
                    (*mode).to_owned(),
                    verdict.to_owned(),
                    says.clone(),
                ]
            });
            writeln!(f, "\n{}", table(["#", "KIND", "RULE", "KEY", "MODE", "VERDICT", "SAYS"], rows))?;
        }
        let outcome = match outcome {
            Outcome::Admitted { backend: Some(backend) } => format!("admitted to {backend}"),
            Outcome::Admitted { backend: None } => "admitted".to_owned(),
            Outcome::Rejected { status, by, retry_after } => {
                format!("rejected with {status} by {by}, retry after {retry_after} s")
            }
            Outcome::Answered { status, because } => format!("answered with {status}: {because}"),
        };
        writeln!(f, "{:<10} {}", "outcome", printable(&outcome))
    }
}
