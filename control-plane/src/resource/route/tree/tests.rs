use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;
use proptest::prelude::*;

use super::*;
use crate::document::kind::Match;
use crate::resource::route::precedence::precedence;

/// What Envoy asks of a route, for those matches that are made here; the path with its query, and the only header.
fn holds(route: &Route, path: &str, header: bool) -> bool {
    let asked = route.r#match.as_ref().unwrap();
    let plain = path.split(['?', '#']).next().unwrap();
    let path_holds = match asked.path_specifier.as_ref().unwrap() {
        PathSpecifier::Path(value) => plain == value,
        PathSpecifier::Prefix(value) => path.starts_with(value.as_str()),
        PathSpecifier::PathSeparatedPrefix(value) => {
            plain.strip_prefix(value.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathSpecifier::SafeRegex(expression) => expression::matches(&expression.regex, plain),
        other => panic!("{other:?}"),
    };
    path_holds && (asked.headers.is_empty() || header)
}

/// The reference: one after another.
fn first<'a>(routes: &'a [Route], path: &str, header: bool) -> Option<&'a str> {
    routes.iter().find(|route| holds(route, path, header)).map(|route| route.name.as_str())
}

/// The same of a tree, as Envoy walks it: the longest key that the path begins with, and no second try.
fn found<'a>(leaves: &Leaves<'_>, routes: &'a [Route], path: &str, header: bool) -> Option<&'a str> {
    let longest =
        leaves.by_key.iter().filter(|(key, _)| path.starts_with(**key)).max_by_key(|(key, _)| key.len());
    let numbers = longest.map_or(&leaves.other, |(_, numbers)| numbers);
    numbers
        .iter()
        .map(|number| &routes[*number])
        .find(|route| holds(route, path, header))
        .map(|route| route.name.as_str())
}

fn route(name: usize, path: PathSpecifier, conditional: bool) -> Route {
    let header = HeaderMatcher {
        name: "x".into(),
        header_match_specifier: Some(HeaderMatchSpecifier::PresentMatch(true)),
        ..HeaderMatcher::default()
    };
    Route {
        name: name.to_string(),
        r#match: Some(RouteMatch {
            path_specifier: Some(path),
            headers: conditional.then_some(header).into_iter().collect(),
            ..RouteMatch::default()
        }),
        ..Route::default()
    }
}

/// Paths of few letters, so that they are often beginnings of each other.
fn path() -> impl Strategy<Value = String> {
    "(/[ab]{1,2}){1,3}"
}

fn specifier() -> impl Strategy<Value = PathSpecifier> {
    prop_oneof![
        4 => path().prop_map(PathSpecifier::PathSeparatedPrefix),
        3 => path().prop_map(PathSpecifier::Path),
        2 => Just(PathSpecifier::Prefix("/".into())),
        1 => path().prop_map(PathSpecifier::Prefix),
        1 => path().prop_map(|path| PathSpecifier::Path(format!("{path}/"))),
        1 => Just(PathSpecifier::SafeRegex(RegexMatcher { regex: ".*a".into(), ..RegexMatcher::default() })),
        2 => (path(), "(/?|[ab]?|.*|(/a)?|\\\\?/a|\\\\.|/a*/b)").prop_map(|(path, rest)| {
            PathSpecifier::SafeRegex(RegexMatcher { regex: format!("{path}{rest}"), ..RegexMatcher::default() })
        }),
    ]
}

proptest! {
    #[test]
    fn a_tree_finds_what_the_list_finds(
        routes in prop::collection::vec((specifier(), any::<bool>()), 0..24),
        paths in prop::collection::vec((path(), "(/|/c|c|ab|\\?q=/a|/\\?|\\?)?", any::<bool>()), 1..40),
    ) {
        let routes: Vec<_> =
            routes.into_iter().enumerate().map(|(name, (path, conditional))| route(name, path, conditional)).collect();
        let reaches: Vec<_> = routes.iter().map(Reach::of).collect();
        if let Some(leaves) = leaves(reaches.iter()) {
            for (path, rest, header) in &paths {
                let path = format!("{path}{rest}");
                prop_assert_eq!(found(&leaves, &routes, &path, *header), first(&routes, &path, *header), "{}", path);
            }
            for path in ["/", "*", "/?", "a"] {
                prop_assert_eq!(found(&leaves, &routes, path, true), first(&routes, path, true), "{}", path);
            }
        }
    }
}

#[test]
fn ten_thousand_paths_are_leaves_of_their_own() {
    let elements = |path: String| PathSpecifier::PathSeparatedPrefix(path);
    let mut routes: Vec<_> =
        (0..10_000).map(|n| route(n, elements(format!("/service-{n}")), false)).collect();
    routes.push(route(10_000, PathSpecifier::Prefix("/".into()), false));
    let reaches: Vec<_> = routes.iter().map(Reach::of).collect();
    let leaves = leaves(reaches.iter()).unwrap();
    assert_eq!(leaves.by_key.len(), 10_001);
    // Its own route; those of /service-7 and so on, of which this is no element; and the one for everything.
    assert_eq!(leaves.by_key["/service-77"], [77, 10_000]);
    assert!(
        leaves.by_key.values().all(|leaf| leaf.len() <= 2),
        "none is asked about routes that can't match"
    );
}

#[test]
fn what_no_leaf_can_reach_is_not_repeated_in_it() {
    let elements = |path: &str| PathSpecifier::PathSeparatedPrefix(path.into());
    let routes = [
        route(0, elements("/a/b/c"), false),
        route(1, elements("/a/b"), true),
        route(2, elements("/a"), false),
        route(3, PathSpecifier::Path("/a".into()), false),
        route(4, PathSpecifier::Prefix("/".into()), false),
    ];
    let reaches: Vec<_> = routes.iter().map(Reach::of).collect();
    let leaves = leaves(reaches.iter()).unwrap();
    assert_eq!(leaves.by_key["/a/b/c"], [0, 1, 2], "below /a everything ends at the route for /a");
    assert_eq!(leaves.by_key["/a/b"], [1, 2]);
    assert_eq!(leaves.by_key["/a"], [2, 3, 4], "/ab comes here, too");
    assert_eq!(leaves.by_key["/"], [4]);
}

#[test]
fn a_tree_that_would_multiply_stays_a_list_and_a_short_list_does_too() {
    let elements = |n: usize| PathSpecifier::PathSeparatedPrefix(format!("/{n}"));
    let below = (0..100).map(|n| route(n, elements(n), false));
    let above = (100..200).map(|n| route(n, PathSpecifier::Prefix("/".into()), true));
    let entry = |route: Route| Entry {
        precedence: precedence(&Match::default()),
        reach: Reach::of(&route),
        bytes: Box::default(),
    };
    let entries: Vec<_> = below.chain(above).map(entry).collect();
    let routes: Vec<_> = entries.iter().collect();
    assert_eq!(tree(&routes), None);
    assert!(tree(&routes[..=FEW]).is_some());
    assert_eq!(tree(&routes[..FEW]), None);
}
