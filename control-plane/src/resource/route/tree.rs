//! Routes as a tree in which Envoy finds the few that can match a path, however many there are.
//!
//! A list of routes is tried one after another: 30 ns each, so the last of a thousand costs more than all else that Envoy does for a request. A tree by the
//! beginnings of paths costs the same for ten routes and for ten thousand. It changes nothing about which route serves a request: each leaf is a
//! list again, in the order of the whole list, of all routes that can match a path which leads to this leaf; Envoy asks each of them whether it really does.
//!
//! Envoy hands the tree the header `:path`, with its query, and takes the leaf of the longest key that the path begins with. There is no second try
//! at a shorter key, so a leaf holds what belongs to shorter keys as well, as far as it can be reached.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::route::v3::{Route, RouteMatch, route_match::PathSpecifier};

use super::Entry;
use crate::document::expression;

/// So many routes one after another cost no more than a tree.
const FEW: usize = 16;

/// A tree may repeat each route so often on average. Beyond that (many routes that differ by their headers, above many paths) the list is kept: it is slower,
/// and it is not a configuration that grows with the product of two numbers.
const REPEATS: usize = 8;

/// Which paths a route is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reach {
    paths: Paths,
    /// It asks for nothing but a path.
    is_unconditional: bool,
}

/// What a route asks of a path.
#[derive(Debug, PartialEq, Eq)]
enum Paths {
    /// This one, with any query.
    Exact(Box<str>),
    /// This one and those below it.
    Elements(Box<str>),
    /// Those that begin so, even in the middle of an element.
    Prefix(Box<str>),
    /// Some of those that begin so.
    Expression(Box<str>),
    /// It can't be told from the path's beginning.
    Any,
}

impl Reach {
    pub(super) fn of(route: &Route) -> Self {
        let is_unconditional = route.r#match.as_ref().is_some_and(|asked| {
            let path_only =
                RouteMatch { path_specifier: asked.path_specifier.clone(), ..RouteMatch::default() };
            *asked == path_only
        });
        Self { paths: Paths::of(route), is_unconditional }
    }
}

impl Paths {
    fn of(route: &Route) -> Self {
        let Some(RouteMatch { path_specifier: Some(path), case_sensitive: None, .. }) = &route.r#match else {
            return Self::Any;
        };
        match path {
            PathSpecifier::Path(path) => Self::Exact(path.as_str().into()),
            PathSpecifier::PathSeparatedPrefix(path) => Self::Elements(path.as_str().into()),
            PathSpecifier::Prefix(path) => Self::Prefix(path.as_str().into()),
            PathSpecifier::SafeRegex(expression) => match expression::prefix(&expression.regex) {
                "" => Self::Any,
                path => Self::Expression(path.into()),
            },
            _ => Self::Any,
        }
    }

    /// What every path that it matches begins with.
    const fn key(&self) -> Option<&str> {
        match self {
            Self::Exact(path) | Self::Elements(path) | Self::Prefix(path) | Self::Expression(path) => {
                Some(path)
            }
            Self::Any => None,
        }
    }

    /// Whether any path of a leaf can match, given that the leaf's key begins with this one's.
    fn reaches(&self, leaf: &str) -> bool {
        match self {
            Self::Exact(path) => **path == *leaf,
            Self::Elements(path) => **path == *leaf || is_above(path, leaf),
            Self::Prefix(_) | Self::Expression(_) | Self::Any => true,
        }
    }

    /// Whether every path of a leaf matches, given the same.
    fn covers(&self, leaf: &str) -> bool {
        match self {
            Self::Exact(_) | Self::Expression(_) | Self::Any => false,
            // A leaf `/a` has `/ab` too, if that has no leaf of its own.
            Self::Elements(path) => is_above(path, leaf),
            Self::Prefix(_) => true,
        }
    }
}

fn is_above(path: &str, leaf: &str) -> bool {
    leaf.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
}

/// The leaves of a tree: for each the numbers of the routes in it, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Leaves<'a> {
    pub(super) by_key: BTreeMap<&'a str, Vec<usize>>,
    /// Of paths that begin with no key.
    pub(super) other: Vec<usize>,
}

/// The tree that means the same as the list; `None` where the list is as good.
pub(super) fn tree<'a>(routes: &[&'a Entry]) -> Option<Leaves<'a>> {
    if routes.len() <= FEW {
        return None;
    }
    leaves(routes.iter().map(|entry| &entry.reach))
}

/// `None` if there would be too many repeats.
fn leaves<'a>(routes: impl Iterator<Item = &'a Reach>) -> Option<Leaves<'a>> {
    let routes: Vec<_> = routes.collect();
    let mut keyed = Vec::with_capacity(routes.len());
    let mut other = Vec::new();
    for (number, reach) in routes.iter().enumerate() {
        match reach.paths.key() {
            Some(key) => keyed.push((key, number)),
            None => other.push(number),
        }
    }
    keyed.sort_unstable();
    let mut left = routes.len().saturating_mul(REPEATS);
    let mut leaves = Vec::with_capacity(keyed.len());
    // In order, a key comes after those that it begins with, and only what else begins so stands between. So those are the ones that remain
    // when all that it does not begin with are taken from the end.
    let mut above: Vec<&[(&str, usize)]> = Vec::new();
    for equal in keyed.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((leaf, _)) = equal.first() else { continue };
        while above.last().and_then(|keys| keys.first()).is_some_and(|(key, _)| !leaf.starts_with(key)) {
            above.pop();
        }
        above.push(equal);
        let by_path = above.iter().flat_map(|keys| keys.iter().map(|(_, number)| *number));
        let mut candidates: Vec<usize> = by_path.chain(other.iter().copied()).collect();
        candidates.sort_unstable();
        let mut reached = Vec::new();
        for number in candidates {
            let Some(Reach { paths, is_unconditional }) = routes.get(number) else { continue };
            if paths.reaches(leaf) {
                reached.push(number);
                if *is_unconditional && paths.covers(leaf) {
                    break;
                }
            }
        }
        left = left.checked_sub(reached.len())?;
        leaves.push((*leaf, reached));
    }
    Some(Leaves { by_key: leaves.into_iter().collect(), other })
}

#[cfg(test)]
mod tests;
