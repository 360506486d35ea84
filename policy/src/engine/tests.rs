mod given_back;
mod limits;
mod outcomes;
mod store;

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
            level: None,
            status: 429,
            grpc_status: 8,
            retry_after_secs: 60,
            body: None,
            headers: &[]
        }
    );
    assert_eq!((reject.kind.as_str(), reject.kind.detail()), ("rate-limit", "spillway_rate_limit"));
    assert!(!passes(&mut engine, &Described::default(), &mut store, SECOND + 60 * SECOND - 1));
    assert!(passes(&mut engine, &Described::default(), &mut store, SECOND + 60 * SECOND), "as it said");
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

const FOREVER: u64 = 3_600 * SECOND;

#[test]
fn a_shadow_rule_reports_and_never_rejects() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "1/h", "mode": "shadow" }],
          "concurrency": [{ "name": "c", "max": 1, "mode": "shadow" }] }
    ]));
    let mut admissions = Vec::new();
    for expected in [vec![], vec!["concurrency/p/c", "rate-limit/p/r"]] {
        let decision = engine.decide(&Described::default(), &mut store, SECOND);
        let shadowed: Vec<String> = decision
            .shadowed
            .iter()
            .map(|r| format!("{}/{}/{}", r.kind.as_str(), r.policy, r.rule))
            .collect();
        assert_eq!(shadowed, expected);
        admissions.push(admitted(decision.verdict).unwrap());
    }
}

#[test]
fn a_rule_answers_in_its_own_words() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "1/h",
          "response": { "status": 503, "body": "{}", "contentType": "application/json", "headers": { "X-A": "b" } } }] }
    ]));
    engine.decide(&Described::default(), &mut store, SECOND);
    let Verdict::Reject(reject) = engine.decide(&Described::default(), &mut store, SECOND).verdict else {
        panic!()
    };
    assert_eq!((reject.status, reject.grpc_status, reject.body), (503, 8, Some("{}")));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(reject.headers, [pair("content-type", "application/json"), pair("x-a", "b")]);
}

#[test]
fn a_request_that_is_rejected_is_not_in_flight_and_one_in_flight_takes_no_tokens_from_others() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "concurrency": [{ "name": "c", "max": 1 }],
          "rateLimits": [{ "name": "r", "rate": "1/h", "burst": 2 }] }
    ]));
    let first = admitted(engine.decide(&Described::default(), &mut store, SECOND).verdict).unwrap();
    assert!(first.is_watched());
    for _ in 0..5 {
        let decision = engine.decide(&Described::default(), &mut store, SECOND);
        assert_eq!(rejected(&decision.verdict).as_deref(), Some("concurrency/p/c after 1"));
    }
    engine.complete(first, Outcome { client_gone: true, ..Outcome::default() }, &mut store, SECOND);
    let second = admitted(engine.decide(&Described::default(), &mut store, SECOND).verdict).unwrap();
    engine.complete(second, Outcome { reset: true, ..Outcome::default() }, &mut store, SECOND);
    for _ in 0..5 {
        let decision = engine.decide(&Described::default(), &mut store, SECOND);
        assert_eq!(
            rejected(&decision.verdict).as_deref(),
            Some("rate-limit/p/r after 3600"),
            "not in flight"
        );
    }
    assert!(passes(&mut engine, &Described::default(), &mut store, SECOND + FOREVER));
}

#[test]
fn under_pressure_the_low_are_shed_and_the_others_served() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "concurrency": [{ "name": "c", "max": 10 }],
          "priority": { "from": [{ "header": "x-priority" }], "default": "normal", "levels": ["normal", "low"] },
          "degrade": [{ "name": "mild", "when": { "saturation": "50%" }, "shed": ["low"] },
                      { "name": "half", "when": { "saturation": "50%" }, "admit": "50%", "only": [{ "method": "PUT" }] }] }
    ]));
    let low = Described::default().header("x-priority", "low");
    assert!(passes(&mut engine, &low, &mut store, SECOND));
    let held: Vec<_> =
        (0..6).map(|_| admitted(engine.decide(&Described::default(), &mut store, SECOND).verdict)).collect();
    engine.tick(&mut store, SECOND + 200 * MS);
    let decision = engine.decide(&low, &mut store, SECOND + 200 * MS);
    assert_eq!(rejected(&decision.verdict).as_deref(), Some("degrade/p/mild after 1"));
    let Verdict::Reject(reject) = decision.verdict else { panic!("rejected") };
    assert_eq!(reject.level, Some("low"));
    let put = Described::default().header(":method", "PUT");
    let decision = engine.decide(&put, &mut store, SECOND + 200 * MS);
    assert_eq!(rejected(&decision.verdict).as_deref(), Some("degrade/p/half after 1"));
    assert!(passes(&mut engine, &Described::default(), &mut store, SECOND + 200 * MS));
    assert_eq!(held.len(), 6);
}

#[test]
fn slow_answers_and_many_failures_open_a_breaker_and_backoff_lengthens_it() {
    let breaker = |trip: serde_json::Value| {
        engine(
            json!([{ "name": "p", "circuitBreakers": [{ "name": "b", "window": "10s", "minRequests": 4, "trip": trip,
            "openFor": "1s", "probes": 1, "backoff": { "factor": 3, "max": "5s" },
            "failures": { "statuses": [500], "resets": false } }] }]),
        )
    };
    let send = |engine: &mut Engine, store: &mut Shared, now: u64, status: u16, latency: u64| {
        let Some(admission) = admitted(engine.decide(&Described::default(), store, now).verdict) else {
            return false;
        };
        let outcome = Outcome { status: Some(status), latency: Some(latency), ..Outcome::default() };
        engine.complete(admission, outcome, store, now);
        engine.tick(store, now + 50 * MS);
        true
    };
    let (mut slow, mut store) =
        (breaker(json!({ "slow": { "over": "500ms", "ratio": "50%" } })), Shared::default());
    for latency in [1, 1, 501, 501] {
        assert!(send(&mut slow, &mut store, SECOND, 500, latency * MS));
    }
    assert!(!send(&mut slow, &mut store, SECOND + 60 * MS, 200, 0), "half of four were slow");

    let (mut counted, mut store) = (breaker(json!({ "errorCount": 2 })), Shared::default());
    for status in [500, 503, 500] {
        assert!(send(&mut counted, &mut store, SECOND, status, 0), "503 is no failure here");
    }
    let mut now = SECOND + 60 * MS;
    for open_for in [1, 3, 5, 5] {
        let mut waited = 0;
        while !send(&mut counted, &mut store, now, 500, 0) {
            now += 100 * MS;
            waited += 1;
        }
        assert!((open_for * 10 - 1..=open_for * 10 + 1).contains(&waited), "{open_for}: {waited}");
    }
}

#[test]
fn a_long_probe_is_resolved_when_its_answer_begins() {
    let mut store = Shared::default();
    let mut engine =
        engine(json!([{ "name": "p", "circuitBreakers": [{ "name": "b", "window": "10s", "minRequests": 1,
        "trip": { "errorRatio": "50%" }, "openFor": "1s", "probes": 1 }] }]));
    let failed = Outcome { status: Some(503), ..Outcome::default() };
    let admission = admitted(engine.decide(&Described::default(), &mut store, SECOND).verdict).unwrap();
    engine.complete(admission, failed, &mut store, SECOND);
    engine.tick(&mut store, SECOND + 50 * MS);
    let mut probe = admitted(engine.decide(&Described::default(), &mut store, 3 * SECOND).verdict).unwrap();
    assert!(probe.is_probe());
    assert!(!passes(&mut engine, &Described::default(), &mut store, 3 * SECOND));
    let begun = Outcome { status: Some(101), ..Outcome::default() };
    engine.headers_seen(&mut probe, begun, &mut store, 3 * SECOND);
    assert!(!probe.is_probe());
    assert!(passes(&mut engine, &Described::default(), &mut store, 3 * SECOND + 10 * MS), "closed");
    engine.complete(probe, Outcome { reset: true, ..begun }, &mut store, 4 * SECOND);
    assert!(
        passes(&mut engine, &Described::default(), &mut store, 4 * SECOND + 60 * MS),
        "its end is no second result"
    );
}
