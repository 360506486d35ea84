use serde_json::json;

use crate::store::Memory;
use crate::testing::*;

use super::*;

fn asked(engine: &mut Engine, request: &Described) -> Vec<String> {
    request.asked.borrow_mut().clear();
    engine.decide(request, &mut Memory::default(), SECOND);
    request.asked.borrow().clone()
}

#[test]
fn nothing_is_asked_where_no_policy_needs_it() {
    let mut engine = engine(limit("1/s", 1));
    assert_eq!(*engine.needs(), Needs::default());
    assert_eq!(asked(&mut engine, &Described::route("r")), Vec::<String>::new());
}

#[test]
fn everything_is_asked_once_and_only_when_it_is_needed() {
    let mut engine = engine(json!([
        { "name": "a", "appliesTo": [{ "routePrefix": "orders/" }],
          "routeKey": [[{ "header": "x-a" }, { "header": "X-B" }], { "header": "x-b" }, { "template": "/{t}/**", "key": "{t}" }],
          "rateLimits": [{ "name": "l", "rate": "9/s", "key": ["routeKey", { "header": "x-b" }, { "template": "/*/{u}", "key": "{u}" }] }],
          "circuitBreakers": [{ "name": "b", "key": ["backend"], "window": "10s", "minRequests": 1, "trip": { "errorRatio": "50%" }, "openFor": "1s", "probes": 1 }] },
        { "name": "b", "appliesTo": [{ "filterChain": "web" }], "rateLimits": [{ "name": "l", "rate": "9/s", "key": [{ "clientAddress": {} }] }] }
    ]));
    let needs = engine.needs();
    let mut headers: Vec<&str> = needs.headers.iter().map(|name| &**name).collect();
    headers.sort_unstable();
    assert_eq!(headers, ["x-a", "x-b"]);
    assert!(needs.path && needs.route_name && needs.filter_chain && needs.backend && needs.client_address);
    assert!(needs.outcomes);

    assert_eq!(asked(&mut engine, &Described::route("other/x")), ["chain", "route"]);
    assert_eq!(
        asked(&mut engine, &Described::route("orders/x")),
        ["chain", "route", "x-a", "x-b", "path", "backend"]
    );
    let with_key = Described::route("orders/x").header("x-a", "1").header("x-b", "2");
    assert_eq!(asked(&mut engine, &with_key), ["chain", "route", "x-a", "x-b", "backend", "path"]);
    let chain = Described { chain: Some("web".into()), ..Described::default() };
    assert_eq!(asked(&mut engine, &chain), ["chain", "route", "client"]);
    assert_eq!(
        asked(&mut engine, &chain),
        ["chain", "route", "client"],
        "the answers are not kept for the next request"
    );
}

#[test]
fn a_configuration_with_problems_is_refused_whole() {
    let configuration =
        Configuration::parse(br#"{"policies":[{"name":"p","rateLimits":[{"name":"A","rate":"1/s"}]}]}"#);
    let Err(ConfigError::Problems(problems)) = Engine::new(configuration.unwrap()) else { panic!("refused") };
    assert_eq!(problems.len(), 1);
}

#[test]
fn the_decision_carries_the_key_whether_or_not_the_request_passes() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "routeKey": [{ "header": "x-tenant" }], "rateLimits": [{ "name": "r", "rate": "1/h", "key": ["routeKey"] }] }
    ]));
    let acme = Described::default().header("x-tenant", b"acme\xff");
    for passes in [true, false] {
        let decision = engine.decide(&acme, &mut store, SECOND);
        assert_eq!(decision.key, Some(&b"acme\xff"[..]));
        assert_eq!(matches!(decision.verdict, Verdict::Admit(_)), passes);
    }
    let decision = engine.decide(&Described::default(), &mut store, SECOND);
    assert_eq!(decision.key, None);
    assert!(matches!(decision.verdict, Verdict::Admit(_)), "a missing key is a bucket of its own");
    assert!(!passes(&mut engine, &Described::default(), &mut store, SECOND), "shared by all that have none");
}

#[test]
fn a_reject_says_which_rule_and_when_to_come_back() {
    let mut store = Shared::default();
    let mut engine = engine(limit("1/m", 1));
    assert_eq!(rejected(&engine.decide(&Described::default(), &mut store, SECOND).verdict), None);
    let decision = engine.decide(&Described::default(), &mut store, SECOND + 500 * MS);
    let Verdict::Reject(reject) = decision.verdict else { panic!("rejected") };
    assert_eq!(
        reject,
        Reject {
            kind: Kind::RateLimit,
            policy: "p",
            rule: "r",
            status: 429,
            grpc_status: 8,
            retry_after_secs: 60
        }
    );
    assert_eq!((reject.kind.as_str(), reject.kind.detail()), ("rate-limit", "spillway_rate_limit"));
    assert!(!passes(&mut engine, &Described::default(), &mut store, SECOND + 60 * SECOND - 1));
    assert!(passes(&mut engine, &Described::default(), &mut store, SECOND + 60 * SECOND), "as it said");
}

#[test]
fn a_request_takes_from_every_limit_or_from_none() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [
            { "name": "wide", "rate": "1/h", "burst": 3 },
            { "name": "narrow", "rate": "1/h", "burst": 1, "key": [{ "header": "k" }] }] },
        { "name": "q", "rateLimits": [{ "name": "slow", "rate": "1/m", "burst": 3 }] }
    ]));
    let key = |key: &str| Described::default().header("k", key);
    assert!(passes(&mut engine, &key("a"), &mut store, SECOND));
    for _ in 0..5 {
        let decision = engine.decide(&key("a"), &mut store, SECOND);
        assert_eq!(rejected(&decision.verdict).as_deref(), Some("rate-limit/p/narrow after 3600"));
    }
    assert!(passes(&mut engine, &key("b"), &mut store, SECOND), "the rejects took nothing from the wide one");
    assert!(passes(&mut engine, &key("c"), &mut store, SECOND));
    let decision = engine.decide(&key("d"), &mut store, SECOND);
    assert_eq!(
        rejected(&decision.verdict).as_deref(),
        Some("rate-limit/p/wide after 3600"),
        "the longest wait"
    );
}

#[test]
fn the_route_key_of_the_policy_aimed_most_closely_serves_all_rules() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "gateway", "routeKey": [{ "value": "everyone" }], "rateLimits": [{ "name": "r", "rate": "1/h", "key": ["routeKey"] }] },
        { "name": "route", "appliesTo": [{ "route": "orders/api" }], "routeKey": [{ "header": "x-tenant" }] }
    ]));
    let tenant = |tenant: &str| Described::route("orders/api").header("x-tenant", tenant);
    assert_eq!(engine.decide(&tenant("a"), &mut store, SECOND).key, Some(&b"a"[..]));
    assert!(passes(&mut engine, &tenant("b"), &mut store, SECOND));
    assert!(!passes(&mut engine, &tenant("a"), &mut store, SECOND));
    assert_eq!(engine.decide(&Described::route("other"), &mut store, SECOND).key, Some(&b"everyone"[..]));
}

#[test]
fn state_belongs_to_policy_and_rule_and_outlives_the_engine() {
    let mut store = Shared::default();
    assert_eq!(count(&mut engine(limit("1/h", 3)), &Described::default(), &mut store, SECOND, 2), 2);
    let mut next = engine_at(
        2,
        json!([
            { "name": "new", "rateLimits": [{ "name": "r", "rate": "1/h", "burst": 9 }] },
            { "name": "p", "rateLimits": [{ "name": "other", "rate": "1/h", "burst": 9 }, { "name": "r", "rate": "1/h", "burst": 3 }] }
        ]),
    );
    assert_eq!(count(&mut next, &Described::default(), &mut store, SECOND, 9), 1, "one token was left");
}

#[test]
fn a_store_that_does_not_answer_lets_requests_pass_and_is_counted() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "1/h" }, { "name": "k", "rate": "1/h", "key": [{ "header": "k" }] }],
          "circuitBreakers": [{ "name": "b", "window": "10s", "minRequests": 1, "trip": { "errorRatio": "50%" }, "openFor": "1s", "probes": 1 }] }
    ]));
    store.failures.set(1_000);
    for _ in 0..5 {
        let admission = admitted(engine.decide(&Described::default(), &mut store, SECOND).verdict).unwrap();
        engine.complete(admission, Outcome { reset: true, ..Outcome::default() }, &mut store, SECOND);
    }
    assert_eq!(engine.store_failures(), 15, "three rules, five requests");
    store.failures.set(0);
    assert_eq!(count(&mut engine, &Described::default(), &mut store, SECOND, 5), 1, "it answers again");
    assert_eq!(engine.store_failures(), 15);
}

#[test]
fn a_store_that_goes_on_conflicting_is_given_up() {
    let mut store = Shared::default();
    let mut engine = engine(limit("1/h", 1));
    store.conflicts.set(u32::MAX);
    assert_eq!(count(&mut engine, &Described::default(), &mut store, SECOND, 3), 3);
    assert_eq!(engine.store_failures(), 3);
    assert!(store.operations.get() < 3 * 200, "{} operations", store.operations.get());
    store.conflicts.set(20);
    assert_eq!(
        count(&mut engine, &Described::default(), &mut store, SECOND, 3),
        1,
        "a few conflicts do no harm"
    );
}
