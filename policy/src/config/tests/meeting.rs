//! Policies that depend on others' route keys and priorities: found by their scopes, as often as if every request were tried.

use proptest::prelude::*;

use crate::config::{Configuration, Policy, Scope};
use crate::scope::Index;

/// Names of up to so many of two letters: every two prefixes of two letters that have an extension in common have one among these.
const ROUTES: [&str; 14] =
    ["a", "b", "aa", "ab", "ba", "bb", "aaa", "aab", "aba", "abb", "baa", "bab", "bba", "bbb"];

const CHAINS: [&str; 2] = ["x", "y"];

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        prop::sample::select(&ROUTES[..]).prop_map(|name| Scope::Route(name.into())),
        prop::sample::select(&ROUTES[..6]).prop_map(|name| Scope::RoutePrefix(name.into())),
        prop::sample::select(&CHAINS[..]).prop_map(|name| Scope::FilterChain(name.into())),
    ]
}

/// One that has a route key, a priority, or rules that want both.
fn policy() -> impl Strategy<Value = Policy> {
    (prop::collection::vec(scope(), 0..3), 0..3).prop_map(|(applies_to, role)| {
        let json = match role {
            0 => r#"{"name": "p", "routeKey": [{"header": "k"}]}"#,
            1 => r#"{"name": "p", "priority": {"from": [{"header": "x-p"}], "default": "low", "levels": ["low"]}}"#,
            _ => {
                r#"{"name": "p", "rateLimits": [{"name": "l", "key": ["routeKey"], "rate": "1/s"}],
                    "degrade": [{"name": "d", "when": {"errors": "50%"}, "shed": ["low"]}]}"#
            }
        };
        Policy { applies_to, ..serde_json::from_str(json).unwrap() }
    })
}

/// Whether a request is possible to which both apply.
fn meet(a: &Policy, b: &Policy) -> bool {
    let index = Index::new(&[a.clone(), b.clone()]);
    let requests = ROUTES.iter().flat_map(|route| CHAINS.iter().map(move |chain| (route, chain)));
    requests.into_iter().any(|(route, chain)| {
        let found = index.find(Some(route.as_bytes()), Some(chain.as_bytes()), |_| true, |_| true);
        found.policies == [0, 1]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_key_and_a_level_are_missed_where_no_request_can_have_them(
        policies in prop::collection::vec(policy(), 2..5),
    ) {
        let has_route_key = |policy: &Policy| !policy.route_key.is_empty();
        let wants = |policy: &&Policy| !policy.rate_limits.is_empty();
        let lacks = |has: &dyn Fn(&Policy) -> bool| {
            let met = |policy: &Policy| policies.iter().any(|other| has(other) && meet(other, policy));
            policies.iter().filter(wants).filter(|policy| !met(policy)).count()
        };
        let expected = (lacks(&has_route_key), lacks(&|policy| policy.priority.is_some()));

        let problems = Configuration { policies: policies.clone(), ..Configuration::default() }.problems();
        let say = |text: &str| problems.iter().filter(|problem| problem.message.contains(text)).count();
        prop_assert_eq!((say("has a routeKey"), say("has a level")), expected, "{:?}", problems);
    }
}
