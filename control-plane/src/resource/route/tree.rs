//! Routes as a tree in which Envoy finds the few that can match a path, however many there are.
//!
//! A list of routes is tried one after another: 30 ns each, so the last of a thousand costs more than all else that Envoy does for a request. A tree by the
//! beginnings of paths costs the same for ten routes and for ten thousand. It changes nothing about which route serves a request: each leaf is a
//! list again, in the order of the whole list, of all routes that can match a path which leads to this leaf; Envoy asks each of them whether it really does.
//!
//! Envoy hands the tree the header `:path`, with its query, and takes the leaf of the longest key that the path begins with. There is no second try
//! at a shorter key, so a leaf holds what belongs to shorter keys as well, as far as it can be reached.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::route::v3::{Route, RouteList, RouteMatch, route_match::PathSpecifier};
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::{
    Matcher,
    matcher::{
        MatcherTree, MatcherType, OnMatch,
        matcher_tree::{MatchMap, TreeType},
        on_match,
    },
};
use prost::{Message, Name};

use crate::document::expression;
use crate::resource;

/// So many routes one after another cost no more than a tree.
const FEW: usize = 16;

/// A tree may repeat each route so often on average. Beyond that (many routes that differ by their headers, above many paths) the list is kept: it is slower,
/// and it is not a configuration that grows with the product of two numbers.
const REPEATS: usize = 8;

/// What a route asks of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paths<'a> {
    /// This one, with any query.
    Exact(&'a str),
    /// This one and those below it.
    Elements(&'a str),
    /// Those that begin so, even in the middle of an element.
    Prefix(&'a str),
    /// Some of those that begin so.
    Expression(&'a str),
    /// It can't be told from the path's beginning.
    Any,
}

impl<'a> Paths<'a> {
    fn of(route: &'a Route) -> Self {
        let Some(RouteMatch { path_specifier: Some(path), case_sensitive: None, .. }) = &route.r#match else {
            return Self::Any;
        };
        match path {
            PathSpecifier::Path(path) => Self::Exact(path),
            PathSpecifier::PathSeparatedPrefix(path) => Self::Elements(path),
            PathSpecifier::Prefix(path) => Self::Prefix(path),
            PathSpecifier::SafeRegex(expression) => match expression::prefix(&expression.regex) {
                "" => Self::Any,
                path => Self::Expression(path),
            },
            _ => Self::Any,
        }
    }

    /// What every path that it matches begins with.
    const fn key(self) -> Option<&'a str> {
        match self {
            Self::Exact(path) | Self::Elements(path) | Self::Prefix(path) | Self::Expression(path) => {
                Some(path)
            }
            Self::Any => None,
        }
    }

    /// Whether any path of a leaf can match, given that the leaf's key begins with this one's.
    fn reaches(self, leaf: &str) -> bool {
        match self {
            Self::Exact(path) => path == leaf,
            Self::Elements(path) => path == leaf || is_above(path, leaf),
            Self::Prefix(_) | Self::Expression(_) | Self::Any => true,
        }
    }

    /// Whether every path of a leaf matches, given the same.
    fn covers(self, leaf: &str) -> bool {
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

/// Whether a route asks for nothing but a path.
fn is_unconditional(route: &Route) -> bool {
    route.r#match.as_ref().is_some_and(|asked| {
        let path_only = RouteMatch { path_specifier: asked.path_specifier.clone(), ..RouteMatch::default() };
        *asked == path_only
    })
}

/// The tree that means the same as the list; `None` where the list is as good.
pub(super) fn tree(routes: &[Route]) -> Option<Matcher> {
    if routes.len() <= FEW {
        return None;
    }
    let leaves = leaves(routes)?;
    let list = |numbers: &[usize]| {
        let routes = numbers.iter().filter_map(|number| routes.get(*number).cloned()).collect();
        OnMatch {
            keep_matching: false,
            on_match: Some(on_match::OnMatch::Action(extension("routes", &RouteList { routes }))),
        }
    };
    let map = leaves.by_key.iter().map(|(key, numbers)| ((*key).to_owned(), list(numbers))).collect();
    let input = HttpRequestHeaderMatchInput { header_name: ":path".to_owned() };
    Some(Matcher {
        on_no_match: (!leaves.other.is_empty()).then(|| Box::new(list(&leaves.other))),
        matcher_type: Some(MatcherType::MatcherTree(MatcherTree {
            input: Some(extension("path", &input)),
            tree_type: Some(TreeType::PrefixMatchMap(MatchMap { map })),
        })),
    })
}

/// The protocol has two messages of this name, and trees are made of the one that does not come from Envoy.
fn extension<M: Message + Name>(name: &str, config: &M) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(resource::any(config)) }
}

/// The numbers of the routes in each leaf.
#[derive(Debug, Default, PartialEq, Eq)]
struct Leaves<'a> {
    by_key: BTreeMap<&'a str, Vec<usize>>,
    /// Of paths that begin with no key.
    other: Vec<usize>,
}

/// `None` if there would be too many repeats.
fn leaves(routes: &[Route]) -> Option<Leaves<'_>> {
    let paths: Vec<_> = routes.iter().map(|route| (Paths::of(route), is_unconditional(route))).collect();
    let mut by_key = BTreeMap::<&str, Vec<usize>>::new();
    let mut other = Vec::new();
    for (number, (paths, _)) in paths.iter().enumerate() {
        match paths.key() {
            Some(key) => by_key.entry(key).or_default().push(number),
            None => other.push(number),
        }
    }
    let mut left = routes.len().saturating_mul(REPEATS);
    let mut leaves = Leaves { by_key: BTreeMap::new(), other };
    for &leaf in by_key.keys() {
        // Every key that this one begins with; itself, too.
        let shorter = leaf.char_indices().map(|(at, _)| at).chain([leaf.len()]);
        let keys = shorter.filter_map(|end| by_key.get(leaf.get(..end)?));
        let candidates: BTreeSet<usize> = keys.flatten().chain(&leaves.other).copied().collect();
        let mut reached = Vec::new();
        for number in candidates {
            let Some((paths, is_unconditional)) = paths.get(number) else { continue };
            if paths.reaches(leaf) {
                reached.push(number);
                if *is_unconditional && paths.covers(leaf) {
                    break;
                }
            }
        }
        left = left.checked_sub(reached.len())?;
        leaves.by_key.insert(leaf, reached);
    }
    Some(leaves)
}

#[cfg(test)]
mod tests;
