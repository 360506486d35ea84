//! Whether a configuration of the right shape also makes sense. All that is wrong is reported at once.

use std::collections::{BTreeMap, BTreeSet};

use super::PathSegment::{Field, Index};
use super::{
    CircuitBreaker, Configuration, KeyAlternative, KeyPart, KeySource, NamedPart, PathSegment, Policy,
    Problem, RateLimit, Scope, Trip,
};
use crate::route_key::template::{Mistake, Template};

/// Names become parts of header values, metric names and store keys.
const MAX_NAME: usize = 63;

/// Collects problems below a place.
struct Report {
    path: Vec<PathSegment>,
    problems: Vec<Problem>,
}

impl Report {
    fn add(&mut self, message: impl Into<String>) {
        self.problems.push(Problem { path: self.path.clone(), message: message.into() });
    }

    fn at(&mut self, segment: PathSegment, check: impl FnOnce(&mut Self)) {
        self.path.push(segment);
        check(self);
        self.path.pop();
    }

    /// Checks each item of a list.
    fn each<'t, T>(&mut self, field: &'static str, items: &'t [T], mut check: impl FnMut(&mut Self, &'t T)) {
        self.at(Field(field), |report| {
            for (index, item) in items.iter().enumerate() {
                report.at(Index(index), |report| check(report, item));
            }
        });
    }
}

impl Configuration {
    /// Everything that is wrong: each policy's own problems, with paths from `policies`, and those between policies:
    ///
    /// - two policies of one name, because state is kept by name;
    /// - two route keys for the same route, prefix, filter chain or for everything, because neither is the more specific one;
    /// - a rule with `routeKey` in its key where no policy that can apply to the same requests has a route key.
    pub fn problems(&self) -> Vec<Problem> {
        let mut report = Report { path: Vec::new(), problems: Vec::new() };
        let mut names = BTreeSet::new();
        let mut keyed: BTreeMap<Option<&Scope>, &str> = BTreeMap::new();
        report.each("policies", &self.policies, |report, policy| {
            check_policy(report, policy);
            if !names.insert(policy.name.as_str()) {
                report.at(Field("name"), |report| {
                    report.add(format!("{:?} is already the name of another policy", policy.name));
                });
            }
            if !policy.route_key.is_empty() {
                for scope in scopes(policy) {
                    let other = keyed.insert(scope, &policy.name);
                    if let Some(other) = other.filter(|other| *other != policy.name) {
                        report.at(Field("routeKey"), |report| {
                            report.add(format!("the policy {other:?} has a route key for the same traffic"));
                        });
                    }
                }
            }
            self.check_route_key_parts(report, policy);
        });
        report.problems
    }

    fn check_route_key_parts(&self, report: &mut Report, policy: &Policy) {
        if !policy.route_key.is_empty() {
            return;
        }
        let available = || {
            let with_key = self.policies.iter().filter(|other| !other.route_key.is_empty());
            with_key.flat_map(scopes).any(|theirs| scopes(policy).any(|ours| can_meet(ours, theirs)))
        };
        let keys = (policy.rate_limits.iter().map(|rule| &rule.key))
            .chain(policy.circuit_breakers.iter().map(|rule| &rule.key));
        let uses = |key: &Vec<KeyPart>| key.contains(&KeyPart::Named(NamedPart::RouteKey));
        if !keys.into_iter().any(uses) || available() {
            return;
        }
        let check = |report: &mut Report, key: &'_ [KeyPart]| {
            report.each("key", key, |report, part| {
                if *part == KeyPart::Named(NamedPart::RouteKey) {
                    report.add("no policy that applies to the same traffic has a routeKey");
                }
            });
        };
        report.each("rateLimits", &policy.rate_limits, |report, rule| check(report, &rule.key));
        report.each("circuitBreakers", &policy.circuit_breakers, |report, rule| check(report, &rule.key));
    }
}

impl Policy {
    /// Everything that is wrong with this policy alone, with paths as in the `spec` of a TrafficPolicy. That `routeKey` in a rule's key
    /// needs a route key is not among it: the route key may be another policy's ([`Configuration::problems`]).
    pub fn problems(&self) -> Vec<Problem> {
        let mut report = Report { path: Vec::new(), problems: Vec::new() };
        check_policy(&mut report, self);
        report.problems
    }
}

/// A policy's scopes; `None`: everything.
fn scopes(policy: &Policy) -> impl Iterator<Item = Option<&Scope>> {
    let everything = policy.applies_to.is_empty().then_some(None);
    everything.into_iter().chain(policy.applies_to.iter().map(Some))
}

/// Whether some request can be in both.
fn can_meet(a: Option<&Scope>, b: Option<&Scope>) -> bool {
    use Scope::{FilterChain, Route, RoutePrefix};
    match (a, b) {
        (Some(Route(a)), Some(Route(b))) | (Some(FilterChain(a)), Some(FilterChain(b))) => a == b,
        (Some(Route(route)), Some(RoutePrefix(prefix))) | (Some(RoutePrefix(prefix)), Some(Route(route))) => {
            route.starts_with(prefix)
        }
        (Some(RoutePrefix(a)), Some(RoutePrefix(b))) => a.starts_with(b) || b.starts_with(a),
        (None, _) | (_, None) | (Some(FilterChain(_)), Some(_)) | (Some(_), Some(FilterChain(_))) => true,
    }
}

fn check_policy(report: &mut Report, policy: &Policy) {
    let Policy { name, applies_to, route_key, rate_limits, circuit_breakers } = policy;
    report.at(Field("name"), |report| check_name(report, name));
    report.each("appliesTo", applies_to, |report, scope| {
        let (Scope::Route(name) | Scope::RoutePrefix(name) | Scope::FilterChain(name)) = scope;
        if name.is_empty() {
            report.add("expected a name, found nothing");
        }
    });
    report.each("routeKey", route_key, |report, alternative| match alternative {
        KeyAlternative::One(source) => check_source(report, source),
        KeyAlternative::All(sources) => {
            if sources.is_empty() {
                report.add("expected at least one source in the list");
            }
            for (index, source) in sources.iter().enumerate() {
                report.at(Index(index), |report| check_source(report, source));
            }
        }
    });
    let mut names = BTreeSet::new();
    report.each("rateLimits", rate_limits, |report, RateLimit { name, key, .. }| {
        check_rule_name(report, name, &mut names);
        check_key(report, key);
    });
    report.each("circuitBreakers", circuit_breakers, |report, breaker| {
        check_breaker(report, breaker, &mut names);
    });
}

fn check_breaker<'p>(report: &mut Report, breaker: &'p CircuitBreaker, names: &mut BTreeSet<&'p str>) {
    let CircuitBreaker { name, key, window, open_for, trip, .. } = breaker;
    check_rule_name(report, name, names);
    check_key(report, key);
    for (field, duration) in [("window", window), ("openFor", open_for)] {
        if duration.is_zero() {
            report.at(Field(field), |report| report.add("expected a duration above zero"));
        }
    }
    report.at(Field("trip"), |report| {
        let Trip { error_ratio, slow: _, error_count: _ } = trip;
        match error_ratio {
            None => report.add("expected at least one condition, such as errorRatio: 50%"),
            Some(ratio) if ratio.basis_points() == 0 => {
                report.at(Field("errorRatio"), |report| report.add("expected a ratio above 0%"));
            }
            Some(_) => {}
        }
    });
}

fn check_rule_name<'p>(report: &mut Report, name: &'p str, names: &mut BTreeSet<&'p str>) {
    report.at(Field("name"), |report| {
        check_name(report, name);
        if !names.insert(name) {
            report.add(format!("{name:?} is already the name of another rule of this policy"));
        }
    });
}

fn check_name(report: &mut Report, name: &str) {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(allowed) {
        report.add(format!("expected a name of 1 to {MAX_NAME} characters a-z, 0-9 and '-', found {name:?}"));
    }
}

fn check_key(report: &mut Report, key: &[KeyPart]) {
    report.each("key", key, |report, part| match part {
        KeyPart::Named(NamedPart::RouteKey | NamedPart::Backend) => {}
        KeyPart::Source(source) => check_source(report, source),
    });
}

fn check_source(report: &mut Report, source: &KeySource) {
    match source {
        KeySource::Template { template, key } => match Template::parse(template, key) {
            Ok(_) => {}
            Err(Mistake::Template(message)) => report.at(Field("template"), |report| report.add(message)),
            Err(Mistake::Key(message)) => report.at(Field("key"), |report| report.add(message)),
        },
        KeySource::Header(name) => {
            if !is_token(name) {
                let message = format!("expected a header name such as x-tenant-id, found {name:?}");
                report.at(Field("header"), |report| report.add(message));
            }
        }
        KeySource::ClientAddress { prefix } => {
            if let Some(prefix) = prefix.filter(|prefix| *prefix > 128) {
                let message = format!("expected at most 128 bits, found {prefix}");
                report.at(Field("clientAddress"), |report| {
                    report.at(Field("prefix"), |report| report.add(message));
                });
            }
        }
        KeySource::Value(value) => {
            if value.is_empty() {
                report.at(Field("value"), |report| report.add("expected at least one character"));
            }
        }
    }
}

/// A token of RFC 9110, section 5.6.2. Upper case is as good as lower case.
fn is_token(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}
