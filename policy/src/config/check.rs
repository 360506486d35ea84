//! Whether a configuration of the right shape also makes sense. All that is wrong is reported at once.

mod key;
mod rule;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Included, Unbounded};

use super::PathSegment::{Field, Index};
use super::{
    Configuration, KeyAlternative, KeyPart, NamedPart, PathSegment, Policy, Priority, Problem, Scope,
};
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
        let all_keyed = Aimed::of(&self.policies, |policy| {
            let route_key = policy.route_key.as_slice();
            (!route_key.is_empty()).then_some(route_key)
        });
        let all_prioritised = Aimed::of(&self.policies, |policy| policy.priority.as_ref());
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
            Self::check_route_key_parts(report, policy, &all_keyed);
            Self::check_levels(report, policy, &all_prioritised);
        });
        report.problems
    }

    /// A level that is shed must be one that a request can have.
    fn check_levels(report: &mut Report, policy: &Policy, prioritised: &Aimed<'_, Priority>) {
        report.each("degrade", &policy.degrade, |report, rule| {
            report.each("shed", &rule.shed, |report, level| {
                let has = |priority: &Priority| priority.levels.contains(level);
                if !prioritised.meets(policy, has) {
                    report.add(format!("no priority that applies to the same traffic has a level {level:?}"));
                }
            });
        });
    }

    fn check_route_key_parts(report: &mut Report, policy: &Policy, keyed: &Aimed<'_, [KeyAlternative]>) {
        if !policy.route_key.is_empty() {
            return;
        }
        let keys = (policy.rate_limits.iter().map(|rule| &rule.key))
            .chain(policy.circuit_breakers.iter().map(|rule| &rule.key))
            .chain(policy.concurrency.iter().map(|rule| &rule.key));
        let uses = |key: &Vec<KeyPart>| key.contains(&KeyPart::Named(NamedPart::RouteKey));
        if !keys.into_iter().any(uses) || keyed.meets(policy, |_| true) {
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

/// What some policies have, by what they apply to. Ten thousand policies are mostly aimed at a Route each, and those are found without asking all.
struct Aimed<'p, T: ?Sized> {
    routes: Names<'p, T>,
    prefixes: Names<'p, T>,
    elsewhere: Vec<(Option<&'p Scope>, &'p T)>,
}

impl<'p, T: ?Sized> Aimed<'p, T> {
    fn of(policies: &'p [Policy], has: impl Fn(&'p Policy) -> Option<&'p T>) -> Self {
        let mut aimed = Self { routes: Names::new(), prefixes: Names::new(), elsewhere: Vec::new() };
        for policy in policies {
            let Some(thing) = has(policy) else { continue };
            for scope in scopes(policy) {
                match scope {
                    Some(Scope::Route(name)) => aimed.routes.add(name, thing),
                    Some(Scope::RoutePrefix(name)) => aimed.prefixes.add(name, thing),
                    Some(Scope::FilterChain(_)) | None => aimed.elsewhere.push((scope, thing)),
                }
            }
        }
        aimed
    }

    /// Whether what can apply to a request that `policy` applies to has something that `is_it`.
    fn meets(&self, policy: &Policy, is_it: impl Fn(&T) -> bool) -> bool {
        let Self { routes, prefixes, elsewhere } = self;
        scopes(policy).any(|ours| {
            let by_name = match ours {
                Some(Scope::Route(name)) => routes.at(name, &is_it) || prefixes.before(name, &is_it),
                Some(Scope::RoutePrefix(prefix)) => {
                    let longer = routes.after(prefix, &is_it) || prefixes.after(prefix, &is_it);
                    longer || prefixes.before(prefix, &is_it)
                }
                Some(Scope::FilterChain(_)) | None => routes.after("", &is_it) || prefixes.after("", &is_it),
            };
            by_name || elsewhere.iter().any(|(theirs, thing)| can_meet(ours, *theirs) && is_it(thing))
        })
    }
}

/// Things by names in order, where those that begin alike stand together.
struct Names<'p, T: ?Sized> {
    things: BTreeMap<&'p str, Vec<&'p T>>,
    lengths: BTreeSet<usize>,
}

impl<'p, T: ?Sized> Names<'p, T> {
    const fn new() -> Self {
        Self { things: BTreeMap::new(), lengths: BTreeSet::new() }
    }

    fn add(&mut self, name: &'p str, thing: &'p T) {
        self.things.entry(name).or_default().push(thing);
        self.lengths.insert(name.len());
    }

    /// Under this name.
    fn at(&self, name: &str, is_it: impl Fn(&T) -> bool) -> bool {
        self.things.get(name).is_some_and(|things| things.iter().any(|thing| is_it(thing)))
    }

    /// Under a name that `name` begins with.
    fn before(&self, name: &str, is_it: impl Fn(&T) -> bool) -> bool {
        let prefixes =
            self.lengths.iter().map_while(|length| (*length <= name.len()).then(|| name.get(..*length)));
        prefixes.flatten().any(|prefix| self.at(prefix, &is_it))
    }

    /// Under a name that begins with `prefix`.
    fn after(&self, prefix: &str, is_it: impl Fn(&T) -> bool) -> bool {
        let named = self.things.range::<str, _>((Included(prefix), Unbounded));
        let mut named = named.take_while(|(name, _)| name.starts_with(prefix));
        named.any(|(_, things)| things.iter().any(|thing| is_it(thing)))
    }
}

/// Whether some request can be in both, of which at least one is not a matter of the route's name.
fn can_meet(a: Option<&Scope>, b: Option<&Scope>) -> bool {
    match (a, b) {
        (Some(Scope::FilterChain(a)), Some(Scope::FilterChain(b))) => a == b,
        _ => true,
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
