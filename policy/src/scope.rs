//! Which policies apply to a request: found by the names that the proxy gave to its route and filter chain, not by asking each policy.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::config::{Policy, Scope};

/// Route and filter chain names come from the proxy's configuration, so their number is bounded; this bound is against a proxy that makes names up.
const MAX_PLANS: usize = 16_384;

/// A policy by its place in the configuration.
pub(crate) type Number = u32;

/// The policies by what they apply to.
#[derive(Debug, Default)]
pub(crate) struct Index {
    everywhere: Vec<Number>,
    routes: HashMap<Box<[u8]>, Vec<Number>>,
    prefixes: HashMap<Box<[u8]>, Vec<Number>>,
    prefix_lengths: BTreeSet<usize>,
    chains: HashMap<Box<[u8]>, Vec<Number>>,
}

/// How closely a policy is aimed at a request, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Aim {
    Everything,
    FilterChain,
    RoutePrefix(usize),
    Route,
}

/// What applies to a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applying {
    /// In the configuration's order, each once.
    pub(crate) policies: Vec<Number>,
    /// Of those with a route key, the one that is aimed most closely; the first of several.
    pub(crate) route_key: Option<Number>,
    /// The same of those with a priority.
    pub(crate) priority: Option<Number>,
}

impl Index {
    pub(crate) fn new(policies: &[Policy]) -> Self {
        let mut index = Self::default();
        for (number, policy) in (0..).zip(policies) {
            if policy.applies_to.is_empty() {
                index.everywhere.push(number);
            }
            for scope in &policy.applies_to {
                let (map, name) = match scope {
                    Scope::Route(name) => (&mut index.routes, name),
                    Scope::RoutePrefix(name) => {
                        index.prefix_lengths.insert(name.len());
                        (&mut index.prefixes, name)
                    }
                    Scope::FilterChain(name) => (&mut index.chains, name),
                };
                map.entry(name.as_bytes().into()).or_default().push(number);
            }
        }
        index
    }

    /// Whether the route's name matters.
    pub(crate) fn needs_route(&self) -> bool {
        !self.routes.is_empty() || !self.prefixes.is_empty()
    }

    /// Whether the filter chain's name matters.
    pub(crate) fn needs_chain(&self) -> bool {
        !self.chains.is_empty()
    }

    /// What applies where these are the names; `None` where the proxy has none.
    pub(crate) fn find(
        &self,
        route: Option<&[u8]>,
        chain: Option<&[u8]>,
        has_route_key: impl Fn(Number) -> bool,
        has_priority: impl Fn(Number) -> bool,
    ) -> Applying {
        let mut found: Vec<(Number, Aim)> = Vec::new();
        let mut add = |numbers: Option<&Vec<Number>>, aim| {
            found.extend(numbers.into_iter().flatten().map(|number| (*number, aim)));
        };
        add(Some(&self.everywhere), Aim::Everything);
        add(chain.and_then(|chain| self.chains.get(chain)), Aim::FilterChain);
        for length in &self.prefix_lengths {
            let prefix = route.and_then(|route| route.get(..*length));
            add(prefix.and_then(|prefix| self.prefixes.get(prefix)), Aim::RoutePrefix(*length));
        }
        add(route.and_then(|route| self.routes.get(route)), Aim::Route);

        let closest = |has: &dyn Fn(Number) -> bool| {
            let having = found.iter().filter(|(number, _)| has(*number));
            having.max_by_key(|(number, aim)| (*aim, std::cmp::Reverse(*number))).map(|(number, _)| *number)
        };
        let (route_key, priority) = (closest(&has_route_key), closest(&has_priority));
        let policies: BTreeSet<Number> = found.iter().map(|(number, _)| *number).collect();
        Applying { policies: policies.into_iter().collect(), route_key, priority }
    }
}

/// What was found, kept by the names it was found for.
#[derive(Debug)]
pub(crate) struct Cache<P> {
    plans: HashMap<Box<[u8]>, Rc<P>>,
    names: Vec<u8>,
    /// What was found last, and for which names: the next request is often one of the same route.
    last: Option<Rc<P>>,
    last_names: Vec<u8>,
}

impl<P> Default for Cache<P> {
    fn default() -> Self {
        Self { plans: HashMap::new(), names: Vec::new(), last: None, last_names: Vec::new() }
    }
}

impl<P> Cache<P> {
    /// Begins a search.
    pub(crate) fn begin(&mut self) {
        self.names.clear();
    }

    /// Goes on with a name, if the proxy has one.
    pub(crate) fn name(&mut self, name: Option<&[u8]>) {
        // Names are told from each other, and from none, by their lengths.
        let length = name.map_or(u64::MAX, |name| name.len() as u64);
        self.names.extend_from_slice(&length.to_le_bytes());
        self.names.extend_from_slice(name.unwrap_or_default());
    }

    /// What is kept for these names.
    pub(crate) fn get(&mut self) -> Option<Rc<P>> {
        // Where no name is asked for there is nothing to compare.
        let is_same = self.names.is_empty() && self.last_names.is_empty() || self.last_names == self.names;
        if is_same && self.last.is_some() {
            return self.last.clone();
        }
        let found = self.plans.get(self.names.as_slice()).cloned()?;
        self.remember(&found);
        Some(found)
    }

    fn remember(&mut self, plan: &Rc<P>) {
        self.last_names.clone_from(&self.names);
        self.last = Some(Rc::clone(plan));
    }

    /// Keeps `plan` for these names.
    pub(crate) fn insert(&mut self, plan: P) -> Rc<P> {
        if self.plans.len() >= MAX_PLANS {
            self.plans.clear();
        }
        let plan = Rc::new(plan);
        self.plans.insert(self.names.as_slice().into(), Rc::clone(&plan));
        self.remember(&plan);
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(scopes: &[Scope]) -> Policy {
        Policy { applies_to: scopes.to_vec(), ..Policy::default() }
    }

    fn find(policies: &[Policy], route: &str, chain: &str) -> Applying {
        Index::new(policies).find(Some(route.as_bytes()), Some(chain.as_bytes()), |_| true, |_| true)
    }

    #[test]
    fn policies_apply_by_route_prefix_chain_or_everywhere() {
        let policies = [
            policy(&[Scope::Route("orders/api".into())]),
            policy(&[]),
            policy(&[Scope::RoutePrefix("orders/".into()), Scope::Route("orders/api".into())]),
            policy(&[Scope::FilterChain("web".into())]),
            policy(&[Scope::RoutePrefix("order".into()), Scope::Route("other/x".into())]),
        ];
        assert_eq!(find(&policies, "orders/api", "web").policies, [0, 1, 2, 3, 4]);
        assert_eq!(find(&policies, "orders/other", "admin").policies, [1, 2, 4]);
        assert_eq!(find(&policies, "orders", "web").policies, [1, 3, 4]);
        assert_eq!(find(&policies, "other/x", "").policies, [1, 4]);
        assert_eq!(Index::new(&policies).find(None, None, |_| true, |_| true).policies, [1]);
    }

    #[test]
    fn the_route_key_is_that_of_the_policy_aimed_most_closely() {
        let policies = [
            policy(&[]),
            policy(&[Scope::FilterChain("web".into())]),
            policy(&[Scope::RoutePrefix("orders/".into())]),
            policy(&[Scope::RoutePrefix("orders/a".into())]),
            policy(&[Scope::Route("orders/api".into())]),
            policy(&[Scope::Route("orders/api".into())]),
        ];
        let key = |route, chain| find(&policies, route, chain).route_key;
        assert_eq!(key("orders/api", "web"), Some(4), "the first of two that are aimed the same");
        assert_eq!(key("orders/ax", "web"), Some(3));
        assert_eq!(key("orders/x", "web"), Some(2));
        assert_eq!(key("x", "web"), Some(1));
        assert_eq!(key("x", ""), Some(0));
        let only_first =
            Index::new(&policies).find(Some(b"orders/api"), None, |number| number == 0, |_| true);
        assert_eq!(only_first.route_key, Some(0), "policies without route key are passed over");
    }

    #[test]
    fn what_was_found_is_kept_by_its_names_and_the_last_at_hand() {
        fn begin(cache: &mut Cache<u32>, name: &str) {
            cache.begin();
            cache.name(Some(name.as_bytes()));
        }
        let mut cache = Cache::default();
        for (name, plan) in [("a", 1), ("b", 2)] {
            begin(&mut cache, name);
            cache.insert(plan);
        }
        for (name, plan) in [("b", 2), ("a", 1)] {
            begin(&mut cache, name);
            assert_eq!(cache.get().as_deref(), Some(&plan), "{name}");
        }
        cache.plans.clear();
        begin(&mut cache, "a");
        assert_eq!(cache.get().as_deref(), Some(&1), "the last needs no search");
        begin(&mut cache, "b");
        assert_eq!(cache.get(), None);
        cache.begin();
        assert_eq!(cache.get(), None, "no names are not the last ones");
    }

    #[test]
    fn names_made_up_without_end_do_not_fill_the_cache() {
        let mut cache = Cache::default();
        for name in 0..100_000_u32 {
            cache.begin();
            cache.name(None);
            cache.name(Some(&name.to_le_bytes()));
            assert!(cache.get().is_none());
            cache.insert(name);
            assert!(cache.plans.len() <= MAX_PLANS);
        }
        assert_eq!(cache.get().as_deref(), Some(&99_999));
        cache.begin();
        cache.name(Some(b""));
        cache.name(Some(&99_999_u32.to_le_bytes()));
        assert_eq!(cache.get(), None, "an empty name is not the same as none");
    }
}
