//! Whether a configuration of the right shape also makes sense. All that is wrong is reported at once.

use std::collections::{BTreeMap, BTreeSet};

use super::PathSegment::{Field, Index};
use super::{
    Backoff, CircuitBreaker, Concurrency, Configuration, Degrade, GrpcSource, KeyAlternative, KeyPart,
    KeySource, NamedPart, Override, PathSegment, Policy, Pressure, Priority, Problem, RateLimit, Response,
    Scope, Slow, Trip,
};
use crate::degrade::MOST;
use crate::quota::Quota;
use crate::request_match;
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

    /// Takes over what was found below a field.
    fn under(&mut self, field: &'static str, problems: Vec<Problem>) {
        self.at(Field(field), |report| {
            let path = report.path.clone();
            report.problems.extend(problems.into_iter().map(|problem| problem.under(&path)));
        });
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
    /// - two route keys, or two priorities, for the same route, prefix, filter chain or for everything, because neither is the more specific one;
    /// - a rule with `routeKey` in its key where no policy that can apply to the same requests has a route key.
    pub fn problems(&self) -> Vec<Problem> {
        let mut report = Report { path: Vec::new(), problems: Vec::new() };
        let mut names = BTreeSet::new();
        let mut keyed: BTreeMap<Option<&Scope>, &str> = BTreeMap::new();
        let mut prioritised: BTreeMap<Option<&Scope>, &str> = BTreeMap::new();
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
            if policy.priority.is_some() {
                for scope in scopes(policy) {
                    let other = prioritised.insert(scope, &policy.name);
                    if let Some(other) = other.filter(|other| *other != policy.name) {
                        report.at(Field("priority"), |report| {
                            report.add(format!("the policy {other:?} has a priority for the same traffic"));
                        });
                    }
                }
            }
            self.check_route_key_parts(report, policy);
            self.check_levels(report, policy);
        });
        report.problems
    }

    /// A level that is shed must be one that a request can have.
    fn check_levels(&self, report: &mut Report, policy: &Policy) {
        let meets =
            |other: &&Policy| scopes(other).any(|theirs| scopes(policy).any(|ours| can_meet(ours, theirs)));
        let priorities: Vec<&Priority> =
            self.policies.iter().filter(meets).filter_map(|other| other.priority.as_ref()).collect();
        report.each("degrade", &policy.degrade, |report, rule| {
            report.each("shed", &rule.shed, |report, level| {
                if !priorities.iter().any(|priority| priority.levels.contains(level)) {
                    report.add(format!("no priority that applies to the same traffic has a level {level:?}"));
                }
            });
        });
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
            .chain(policy.circuit_breakers.iter().map(|rule| &rule.key))
            .chain(policy.concurrency.iter().map(|rule| &rule.key));
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
        report.each("concurrency", &policy.concurrency, |report, rule| check(report, &rule.key));
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
    let Policy { name, applies_to, route_key, rate_limits, circuit_breakers, concurrency, priority, degrade } =
        policy;
    report.at(Field("name"), |report| check_name(report, name));
    report.each("appliesTo", applies_to, |report, scope| {
        let (Scope::Route(name) | Scope::RoutePrefix(name) | Scope::FilterChain(name)) = scope;
        if name.is_empty() {
            report.add("expected a name, found nothing");
        }
    });
    report.each("routeKey", route_key, check_alternative);
    let mut names = BTreeSet::new();
    report.each("rateLimits", rate_limits, |report, limit| check_limit(report, limit, &mut names));
    report.each("circuitBreakers", circuit_breakers, |report, breaker| {
        check_breaker(report, breaker, &mut names);
    });
    report.each("concurrency", concurrency, |report, rule| check_concurrency(report, rule, &mut names));
    if let Some(priority) = priority {
        report.at(Field("priority"), |report| check_priority(report, priority));
    }
    if degrade.len() > MOST as usize {
        report.at(Field("degrade"), |report| {
            report.add(format!("at most {MOST} rules, found {}", degrade.len()));
        });
    }
    let has_bulkhead = !concurrency.is_empty();
    report.each("degrade", degrade, |report, rule| check_degrade(report, rule, has_bulkhead, &mut names));
}

fn check_alternative(report: &mut Report, alternative: &KeyAlternative) {
    match alternative {
        KeyAlternative::One(source) => check_source(report, source),
        KeyAlternative::All(sources) => {
            if sources.is_empty() {
                report.add("expected at least one source in the list");
            }
            for (index, source) in sources.iter().enumerate() {
                report.at(Index(index), |report| check_source(report, source));
            }
        }
    }
}

fn check_response(report: &mut Report, response: Option<&Response>) {
    if let Some(response) = response {
        report.under("response", response.problems());
    }
}

fn check_limit<'p>(report: &mut Report, limit: &'p RateLimit, names: &mut BTreeSet<&'p str>) {
    let RateLimit { name, key, rate, burst, when, cost, overrides, response, .. } = limit;
    check_rule_name(report, name, names);
    check_key(report, key);
    report.under("when", request_match::problems(when));
    if let Some(cost) = cost {
        report.under("cost", cost.problems(Quota::new(*rate, *burst).burst()));
    }
    check_response(report, response.as_ref());
    if key.is_empty() && !overrides.is_empty() {
        report.at(Field("overrides"), |report| report.add("a limit without key has nothing to override"));
    }
    let mut keys = BTreeSet::new();
    report.each("overrides", overrides, |report, Override { key, rate, burst, unlimited }| {
        if key.len() > 256 {
            report.at(Field("key"), |report| {
                report.add("a key of more than 256 bytes is never seen: it is hashed");
            });
        }
        if !keys.insert(key) {
            report.at(Field("key"), |report| report.add(format!("{key:?} has an override already")));
        }
        match (rate, burst, unlimited) {
            (Some(_), _, false) | (None, None, true) => {}
            _ => report.add("expected either a rate, with or without a burst, or unlimited: true"),
        }
    });
}

fn check_concurrency<'p>(report: &mut Report, rule: &'p Concurrency, names: &mut BTreeSet<&'p str>) {
    let Concurrency { name, key, max, adaptive, mode: _, on_failure: _, response } = rule;
    check_rule_name(report, name, names);
    check_key(report, key);
    check_response(report, response.as_ref());
    match (max, adaptive) {
        (Some(_), None) => {}
        (None, Some(adaptive)) if adaptive.min <= adaptive.max => {}
        (None, Some(adaptive)) => report.at(Field("adaptive"), |report| {
            report.add(format!("min is {}, more than max, which is {}", adaptive.min, adaptive.max));
        }),
        _ => report.add("expected exactly one of max and adaptive"),
    }
}

fn check_priority(report: &mut Report, Priority { from, default, levels }: &Priority) {
    report.each("from", from, check_alternative);
    let mut known = BTreeSet::new();
    report.each("levels", levels, |report, level| {
        check_name(report, level);
        if !known.insert(level) {
            report.add(format!("{level:?} is there twice"));
        }
    });
    if !levels.contains(default) {
        report.at(Field("default"), |report| report.add(format!("{default:?} is none of the levels")));
    }
}

fn check_degrade<'p>(
    report: &mut Report,
    rule: &'p Degrade,
    has_bulkhead: bool,
    names: &mut BTreeSet<&'p str>,
) {
    let Degrade { name, when, shed, admit, only, mode: _, response } = rule;
    check_rule_name(report, name, names);
    check_response(report, response.as_ref());
    report.under("only", request_match::problems(only));
    if shed.is_empty() && admit.is_none() && only.is_empty() {
        report.add("expected shed, admit or only: without any of them it would reject everything");
    }
    report.at(Field("when"), |report| {
        let Pressure { saturation, p99, errors } = when;
        for (field, ratio) in [("saturation", saturation), ("errors", errors)] {
            if ratio.is_some_and(|ratio| ratio.basis_points() == 0) {
                report.at(Field(field), |report| report.add("expected a ratio above 0%"));
            }
        }
        if p99.is_some_and(crate::unit::Duration::is_zero) {
            report.at(Field("p99"), |report| report.add("expected a duration above zero"));
        }
        if saturation.is_some() && !has_bulkhead {
            report.at(Field("saturation"), |report| {
                report.add("the policy has no concurrency rule to measure it by");
            });
        }
        if saturation.is_none() && p99.is_none() && errors.is_none() {
            report.add("expected at least one condition, such as saturation: 80%");
        }
    });
}

fn check_breaker<'p>(report: &mut Report, breaker: &'p CircuitBreaker, names: &mut BTreeSet<&'p str>) {
    let CircuitBreaker { name, key, window, open_for, trip, backoff, response, .. } = breaker;
    check_rule_name(report, name, names);
    check_key(report, key);
    check_response(report, response.as_ref());
    for (field, duration) in [("window", window), ("openFor", open_for)] {
        if duration.is_zero() {
            report.at(Field(field), |report| report.add("expected a duration above zero"));
        }
    }
    if let Some(Backoff { factor, max }) = backoff {
        report.at(Field("backoff"), |report| {
            if factor.get() > 100 {
                report.at(Field("factor"), |report| report.add(format!("expected 1 to 100, found {factor}")));
            }
            if max < open_for {
                report.at(Field("max"), |report| report.add(format!("{max} is less than openFor")));
            }
        });
    }
    report.at(Field("trip"), |report| {
        let Trip { error_ratio, slow, error_count } = trip;
        if error_ratio.is_none() && slow.is_none() && error_count.is_none() {
            report.add("expected at least one condition, such as errorRatio: 50%");
        }
        let zero = |report: &mut Report, field| {
            report.at(Field(field), |report| report.add("expected a ratio above 0%"));
        };
        if error_ratio.is_some_and(|ratio| ratio.basis_points() == 0) {
            zero(report, "errorRatio");
        }
        if let Some(Slow { over: _, ratio }) = slow
            && ratio.basis_points() == 0
        {
            report.at(Field("slow"), |report| zero(report, "ratio"));
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
        KeySource::Method | KeySource::Sni | KeySource::Grpc(GrpcSource::Service | GrpcSource::Method) => {}
        KeySource::Query(name) => {
            if name.is_empty() {
                report.at(Field("query"), |report| {
                    report.add("expected a query parameter's name, found nothing");
                });
            }
        }
        KeySource::Cookie(name) => {
            if !is_token(name) {
                let message = format!("expected a cookie's name, found {name:?}");
                report.at(Field("cookie"), |report| report.add(message));
            }
        }
        KeySource::Grpc(GrpcSource::Metadata(name)) => {
            if !is_token(name) {
                let message = format!("expected a name such as x-tenant-id, found {name:?}");
                report.at(Field("grpc"), |report| report.at(Field("metadata"), |report| report.add(message)));
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
