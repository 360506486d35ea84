//! What a listener serves, by host.
//!
//! A request that no rule for its own host matches may still match one for a wider host, so what may serve a host is looked up under every name that covers it:
//! itself, the wildcards above it, and every host. That is a few look-ups, however many hosts there are.

use std::collections::{BTreeMap, HashSet};

/// Every host.
const ANY_HOST: &str = "*";

/// Things that have hostnames, by these.
#[derive(Debug)]
pub(crate) struct Hosts<'a, T> {
    by_name: BTreeMap<&'a str, Vec<Served<T>>>,
}

#[derive(Debug, Clone, Copy)]
struct Served<T> {
    what: T,
    /// Which of those with several hostnames it is; it counts once, under the most specific.
    several: Option<usize>,
}

impl<'a, T: Copy> Hosts<'a, T> {
    /// Each comes with its hostnames, without duplicates; none means every host.
    pub(crate) fn new<'h>(served: impl IntoIterator<Item = (&'h [&'a str], T)>) -> Self
    where
        'a: 'h,
    {
        let mut by_name = BTreeMap::<_, Vec<_>>::new();
        for (number, (hostnames, what)) in served.into_iter().enumerate() {
            let several = (hostnames.len() > 1).then_some(number);
            let names = if hostnames.is_empty() { &[ANY_HOST][..] } else { hostnames };
            for name in names {
                by_name.entry(*name).or_default().push(Served { what, several });
            }
        }
        Self { by_name }
    }

    /// The hosts that have something of their own, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.by_name.keys().copied()
    }

    /// All that may serve a host: first what is there for the host itself, then for each wider one, as it was given.
    pub(crate) fn serving(&self, host: &str) -> Vec<Vec<T>> {
        let mut seen = HashSet::new();
        let served = wider(host).filter_map(|name| self.by_name.get(name.as_str()));
        let mut first = |one: &&Served<T>| one.several.is_none_or(|number| seen.insert(number));
        served.map(|list| list.iter().filter(&mut first).map(|one| one.what).collect()).collect()
    }
}

/// A host and those that cover it, the most specific first: an exact one before wildcards, a longer wildcard before a shorter one.
fn wider(host: &str) -> impl Iterator<Item = String> {
    let rest = host.strip_prefix('*').unwrap_or(host);
    let suffixes = rest.match_indices('.').filter(|(at, _)| *at > 0).filter_map(|(at, _)| rest.get(at..));
    let any = (host != ANY_HOST).then(|| ANY_HOST.to_owned());
    std::iter::once(host.to_owned()).chain(suffixes.map(|suffix| format!("*{suffix}"))).chain(any)
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;
    use crate::model::hostname;

    fn host() -> impl Strategy<Value = String> {
        "(\\*\\.|)([ab]\\.){1,3}c|\\*|\\*\\.c"
    }

    /// The reference: everything is looked at, for each host.
    fn one_by_one(served: &[Vec<&str>], host: &str) -> Vec<usize> {
        let specificity = |host: &&str| (!host.starts_with('*'), host.len());
        let all = served.iter().enumerate().filter_map(|(number, hosts)| {
            let hosts = if hosts.is_empty() { &[ANY_HOST][..] } else { hosts };
            let covering = hosts.iter().filter(|wide| **wide == ANY_HOST || hostname::covers(wide, host));
            Some((Reverse(covering.map(specificity).max()?), number))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all.into_iter().map(|(_, number)| number).collect()
    }

    proptest! {
        #[test]
        fn a_host_is_served_by_all_that_covers_it_the_most_specific_first(
            served in prop::collection::vec(prop::collection::btree_set(host(), 0..4), 0..12),
        ) {
            let served: Vec<Vec<&str>> =
                served.iter().map(|hosts| hosts.iter().map(String::as_str).collect()).collect();
            let hosts = Hosts::new(served.iter().enumerate().map(|(number, hosts)| (&hosts[..], number)));
            for name in hosts.names() {
                prop_assert_eq!(hosts.serving(name).concat(), one_by_one(&served, name), "{}", name);
            }
        }
    }
}
