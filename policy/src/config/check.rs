//! Whether a configuration of the right shape also makes sense. All that is wrong is reported at once.

mod key;
mod rule;

use std::collections::{BTreeMap, BTreeSet};

use super::PathSegment::{Field, Index};
use super::{Configuration, KeyPart, NamedPart, PathSegment, Policy, Priority, Problem, Scope};
use crate::degrade::MOST;

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
    report.at(Field("name"), |report| rule::check_name(report, name));
    report.each("appliesTo", applies_to, |report, scope| {
        let (Scope::Route(name) | Scope::RoutePrefix(name) | Scope::FilterChain(name)) = scope;
        if name.is_empty() {
            report.add("expected a name, found nothing");
        }
    });
    report.each("routeKey", route_key, key::check_alternative);
    // Where a rule is named, its kind is named beside it: a limit and a breaker of one policy may share a name.
    let mut names = BTreeSet::new();
    report.each("rateLimits", rate_limits, |report, limit| {
        rule::check(report, limit, &mut names);
        rule::check_limit(report, limit);
    });
    let mut names = BTreeSet::new();
    report.each("circuitBreakers", circuit_breakers, |report, breaker| {
        rule::check(report, breaker, &mut names);
        rule::check_breaker(report, breaker);
    });
    let mut names = BTreeSet::new();
    report.each("concurrency", concurrency, |report, bulkhead| {
        rule::check(report, bulkhead, &mut names);
        rule::check_concurrency(report, bulkhead);
    });
    if let Some(priority) = priority {
        report.at(Field("priority"), |report| rule::check_priority(report, priority));
    }
    if degrade.len() > MOST as usize {
        report.at(Field("degrade"), |report| {
            report.add(format!("at most {MOST} rules, found {}", degrade.len()));
        });
    }
    let has_bulkhead = !concurrency.is_empty();
    let mut names = BTreeSet::new();
    report.each("degrade", degrade, |report, degrade| {
        rule::check_degrade(report, degrade, has_bulkhead, &mut names);
    });
}
