mod meeting;
mod rules;

use serde_json::{Value, json};

use super::*;

#[allow(clippy::needless_pass_by_value, reason = "`json!(..)` reads better where it is called")]
fn parse(policies: Value) -> Configuration {
    let json = json!({ "revision": 3, "policies": policies }).to_string();
    Configuration::parse(json.as_bytes()).unwrap()
}

fn problems(policies: Value) -> Vec<String> {
    parse(policies).problems().iter().map(ToString::to_string).collect()
}

/// The problems of a policy with these fields, without those between policies.
fn policy_problems(mut policy: Value) -> Vec<String> {
    policy["name"] = json!("p");
    parse(json!([policy])).policies[0].problems().iter().map(ToString::to_string).collect()
}

fn syntax_error(json: &[u8]) -> String {
    match Configuration::parse(json) {
        Err(error @ ConfigError::Syntax(_)) => error.to_string(),
        other => panic!("refused: {other:?}"),
    }
}

fn full() -> Value {
    json!([{
        "name": "orders-protection",
        "appliesTo": [{ "route": "orders/api" }, { "routePrefix": "users/" }, { "filterChain": "web" }],
        "routeKey": [
            { "template": "/orders/{tenant}/**", "key": "{tenant}" },
            [{ "header": "X-Tenant-Id" }, { "clientAddress": { "prefix": 24 } }],
            { "clientAddress": {} },
            { "value": "anonymous" }
        ],
        "rateLimits": [
            { "name": "all", "rate": "100/s" },
            { "name": "per-tenant", "key": ["routeKey", "backend", { "header": "x-a" }], "rate": "6000/m", "burst": 200 }
        ],
        "circuitBreakers": [{
            "name": "orders", "key": ["backend"], "window": "10s", "minRequests": 20,
            "trip": { "errorRatio": "50%" }, "openFor": "30s", "probes": 5
        }]
    }])
}

/// What [`full`] leaves at what it is where not given.
fn unusual() -> Value {
    let shadow = |mut rule: Value| {
        rule["mode"] = json!("shadow");
        rule["response"] = json!({ "status": 503, "body": "{}", "contentType": "application/json", "headers": { "x-a": "b" } });
        rule
    };
    let denying = |mut rule: Value| {
        rule["onFailure"] = json!("deny");
        shadow(rule)
    };
    json!([{
        "name": "unusual",
        "routeKey": [
            [{ "method": true }, { "query": "q" }, { "cookie": "c" }, { "sni": true }],
            { "grpc": "service" }, { "grpc": "method" }, { "grpc": { "metadata": "m" } }
        ],
        "rateLimits": [denying(json!({
            "name": "l", "key": ["backend"], "rate": "100/s", "rateLimitHeaders": true, "when": [{ "method": "PUT" }],
            "overrides": [{ "key": "probe", "unlimited": true }, { "key": "big", "rate": "200/s", "burst": 9 }]
        }))],
        "circuitBreakers": [denying(json!({
            "name": "b", "window": "10s", "minRequests": 20, "trip": { "errorCount": 3 }, "openFor": "30s", "probes": 5,
            "backoff": { "factor": 2, "max": "5m" }
        }))],
        "concurrency": [denying(json!({ "name": "c", "max": 9 })), denying(json!({ "name": "a", "adaptive": { "min": 1, "max": 9 } }))],
        "priority": { "from": [{ "header": "x-p" }], "default": "normal", "levels": ["normal", "low"] },
        "degrade": [shadow(json!({ "name": "d", "when": { "errors": "50%" }, "shed": ["low"], "admit": "20%" }))]
    }])
}

#[test]
fn what_is_right_has_no_problems_and_survives_being_written() {
    assert_eq!(problems(json!([])), [""; 0]);
    for policies in [full(), unusual()] {
        assert_eq!(problems(policies.clone()), [""; 0]);
        let configuration = Configuration { announces_key: true, ..parse(policies.clone()) };
        let written = serde_json::to_value(&configuration).unwrap();
        assert_eq!(
            written["policies"], policies,
            "nothing is lost, and nothing said that goes without saying"
        );
        assert_eq!(Configuration::parse(written.to_string().as_bytes()).unwrap(), configuration);
    }
}

#[test]
fn bytes_that_are_no_configuration_say_what_was_expected_and_where() {
    for (json, expected) in [
        (&b""[..], "EOF while parsing"),
        (b"\xff\xfe", "expected value at line 1 column 1"),
        (b"7", "expected struct Configuration"),
        (b"{}", "missing field `policies`"),
        (br#"{"policies":[]} x"#, "trailing characters"),
        (br#"{"policies":[],"polices":[]}"#, "unknown field `polices`"),
        (br#"{"policies":[{"name":"p","rateLimit":[]}]}"#, "unknown field `rateLimit`"),
        (br#"{"policies":[{"name":"p","rateLimits":[{"name":"r"}]}]}"#, "missing field `rate`"),
        (
            br#"{"policies":[{"name":"p","rateLimits":[{"name":"r","rate":"0/s"}]}]}"#,
            "expected a rate above zero",
        ),
        (
            br#"{"policies":[{"name":"p","rateLimits":[{"name":"r","rate":"1/s","burst":0}]}]}"#,
            "expected a nonzero u32",
        ),
        (
            br#"{"policies":[{"name":"p","rateLimits":[{"name":"r","rate":"1/s","burst":-1}]}]}"#,
            "expected a nonzero u32",
        ),
        (
            br#"{"policies":[{"name":"p","rateLimits":[{"name":"r","rate":"1/s","scope":"fleet"}]}]}"#,
            "not available yet",
        ),
        (br#"{"policies":[{"name":"p","routeKey":[{"header":"a","value":"b"}]}]}"#, "exactly one source"),
        (br#"{"policies":[{"name":"p","routeKey":[{"template":"/a"}]}]}"#, "a template needs a key"),
        (br#"{"policies":[{"name":"p","routeKey":["routeKey"]}]}"#, "a source such as"),
        (
            br#"{"policies":[{"name":"p","rateLimits":[{"name":"r","rate":"1/s","key":["route"]}]}]}"#,
            "`routeKey` or `backend`",
        ),
        (br#"{"policies":[{"name":"p","routeKey":[{"clientAddress":{"prefix":256}}]}]}"#, "256"),
    ] {
        let error = syntax_error(json);
        assert!(
            error.contains(expected) && error.contains(" at line 1 column "),
            "{}: {error}",
            String::from_utf8_lossy(json)
        );
    }
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    syntax_error(&deep);
}

#[test]
fn rule_names_are_checked_and_unique_among_the_policy_s_rules_of_a_kind() {
    let long = "x".repeat(64);
    let limits: Vec<Value> = ["", "A", "a_b", "a/b", "\u{e9}", &long, "fine", "fine"]
        .iter()
        .map(|name| json!({ "name": name, "rate": "1/s" }))
        .collect();
    let problems = policy_problems(json!({ "rateLimits": limits, "circuitBreakers": [{
        "name": "fine", "window": "1s", "minRequests": 1, "trip": { "errorRatio": "1%" }, "openFor": "1s", "probes": 1 }],
        "concurrency": [{ "name": "fine", "max": 1 }, { "name": "fine", "max": 2 }] }));
    assert_eq!(problems.len(), 8, "{problems:#?}");
    for (index, problem) in problems.iter().take(6).enumerate() {
        assert!(
            problem.starts_with(&format!("rateLimits[{index}].name: expected a name of 1 to 63 characters")),
            "{problem}"
        );
    }
    assert_eq!(
        problems[6],
        "rateLimits[7].name: \"fine\" is already the name of another rule of this kind in this policy"
    );
    assert_eq!(
        problems[7],
        "concurrency[1].name: \"fine\" is already the name of another rule of this kind in this policy"
    );
}

#[test]
fn sources_are_checked_wherever_they_stand() {
    let problems = policy_problems(json!({
        "routeKey": [
            { "template": "orders/{t}", "key": "{t}" },
            { "template": "/orders/{t}", "key": "{u}" },
            [{ "header": "x y" }, { "clientAddress": { "prefix": 129 } }],
            [],
            { "value": "" },
            { "header": ":path" }
        ],
        "rateLimits": [{ "name": "r", "rate": "1/s", "key": ["routeKey", "backend", { "header": "" }] }],
        "circuitBreakers": [{ "name": "b", "key": [{ "template": "/**/{t}", "key": "{t}" }], "window": "1s",
            "minRequests": 1, "trip": { "errorRatio": "1%" }, "openFor": "1s", "probes": 1 }]
    }));
    assert_eq!(
        problems,
        [
            "routeKey[0].template: expected a template that begins with '/', found \"orders/{t}\"",
            "routeKey[1].key: the template has no placeholder {u}",
            "routeKey[2][0].header: expected a header name such as x-tenant-id, found \"x y\"",
            "routeKey[2][1].clientAddress.prefix: expected at most 128 bits, found 129",
            "routeKey[3]: expected at least one source in the list",
            "routeKey[4].value: expected at least one character",
            "routeKey[5].header: expected a header name such as x-tenant-id, found \":path\"",
            "rateLimits[0].key[2].header: expected a header name such as x-tenant-id, found \"\"",
            "circuitBreakers[0].key[0].template: '**' can stand only at the end, as a segment of its own",
        ]
    );
}

#[test]
fn a_breaker_needs_a_condition_and_times_above_zero() {
    let breaker = |name: &str, trip: Value, time: &str| json!({ "name": name, "window": time, "minRequests": 1, "trip": trip, "openFor": time, "probes": 1 });
    let problems = policy_problems(json!({ "circuitBreakers": [
        breaker("a", json!({}), "1s"), breaker("b", json!({ "errorRatio": "0%" }), "0s"), breaker("c", json!({ "errorRatio": "100%" }), "1ms") ] }));
    assert_eq!(
        problems,
        [
            "circuitBreakers[0].trip: expected at least one condition, such as errorRatio: 50%",
            "circuitBreakers[1].window: expected a duration above zero",
            "circuitBreakers[1].openFor: expected a duration above zero",
            "circuitBreakers[1].trip.errorRatio: expected a ratio above 0%",
        ]
    );
}

#[test]
fn policies_are_checked_against_each_other() {
    let keyed = |name: &str, scopes: Value| json!({ "name": name, "appliesTo": scopes, "routeKey": [{ "value": "v" }] });
    assert_eq!(
        problems(json!([
            keyed("a", json!([])),
            keyed("b", json!([{ "route": "r/x" }, { "route": "r/x" }])),
            keyed("c", json!([{ "routePrefix": "r/x" }])),
            keyed("d", json!([{ "filterChain": "web" }, { "route": "r/x" }])),
            keyed("e", json!([])),
            { "name": "a" },
            { "name": "f", "appliesTo": [{ "route": "" }] },
            { "name": "", "rateLimits": [{ "name": "A", "rate": "1/s" }] }
        ])),
        [
            "policies[3].routeKey: the policy \"b\" has a route key for the same traffic",
            "policies[4].routeKey: the policy \"a\" has a route key for the same traffic",
            "policies[5].name: \"a\" is already the name of another policy",
            "policies[6].appliesTo[0]: expected a name, found nothing",
            "policies[7].name: expected a name of 1 to 63 characters a-z, 0-9 and '-', found \"\"",
            "policies[7].rateLimits[0].name: expected a name of 1 to 63 characters a-z, 0-9 and '-', found \"A\"",
        ]
    );
}

#[test]
fn two_priorities_for_the_same_traffic_are_refused() {
    let priority = |name: &str, scopes: Value| {
        json!({ "name": name, "appliesTo": scopes,
            "priority": { "from": [{ "header": "x-p" }], "default": "normal", "levels": ["normal", "low"] } })
    };
    assert_eq!(
        problems(json!([
            priority("a", json!([])),
            priority("b", json!([{ "route": "r/x" }, { "route": "r/x" }])),
            priority("c", json!([{ "routePrefix": "r/" }])),
            priority("d", json!([{ "route": "r/x" }]))
        ])),
        ["policies[3].priority: the policy \"b\" has a priority for the same traffic"]
    );
}

#[test]
fn a_level_that_is_shed_must_be_one_that_a_request_can_have() {
    let sheds = |scopes: Value| {
        json!({ "name": "sheds", "appliesTo": scopes,
            "degrade": [{ "name": "d", "when": { "errors": "50%" }, "shed": ["low", "lowest"] }] })
    };
    let levels = |levels: Value| {
        json!({ "name": "levels", "appliesTo": [{ "routePrefix": "r/" }],
            "priority": { "from": [{ "header": "x-p" }], "default": "normal", "levels": levels } })
    };
    let missing = |place: usize, level: &str| {
        format!(
            "policies[0].degrade[0].shed[{place}]: no priority that applies to the same traffic has a level {level:?}"
        )
    };
    let check = |scopes: Value, known: Value| problems(json!([sheds(scopes), levels(known)]));
    let all = json!(["normal", "low", "lowest"]);
    assert_eq!(check(json!([{ "route": "r/x" }]), all.clone()), [""; 0]);
    assert_eq!(check(json!([{ "route": "s/x" }]), all), [missing(0, "low"), missing(1, "lowest")]);
    assert_eq!(check(json!([]), json!(["normal", "low"])), [missing(1, "lowest")]);
}

#[test]
fn a_route_key_in_a_rule_needs_one_that_can_apply() {
    let uses = |scopes: Value| {
        json!({ "name": "user", "appliesTo": scopes, "rateLimits": [
            { "name": "r", "rate": "1/s", "key": ["backend", "routeKey"] }, { "name": "s", "rate": "1/s" }] })
    };
    let keyed =
        |scopes: Value| json!({ "name": "keyed", "appliesTo": scopes, "routeKey": [{ "value": "v" }] });
    let missing =
        ["policies[0].rateLimits[0].key[1]: no policy that applies to the same traffic has a routeKey"];
    let check = |user: Value, key: Value| problems(json!([uses(user), keyed(key)]));

    assert_eq!(problems(json!([uses(json!([]))])), missing);
    for (user, key) in [
        (json!([{ "route": "r/x" }]), json!([{ "route": "r/y" }])),
        (json!([{ "route": "r/x" }]), json!([{ "routePrefix": "s/" }])),
        (json!([{ "routePrefix": "r/" }]), json!([{ "routePrefix": "s/" }, { "route": "s/y" }])),
        (json!([{ "filterChain": "web" }]), json!([{ "filterChain": "admin" }])),
    ] {
        assert_eq!(check(user.clone(), key.clone()), missing, "{user} {key}");
    }
    for (user, key) in [
        (json!([]), json!([{ "route": "r/x" }])),
        (json!([{ "route": "r/x" }]), json!([])),
        (json!([{ "route": "r/x" }]), json!([{ "routePrefix": "r/" }])),
        (json!([{ "routePrefix": "r/" }]), json!([{ "route": "r/x" }])),
        (json!([{ "routePrefix": "r/" }]), json!([{ "routePrefix": "r/x" }])),
        (json!([{ "filterChain": "web" }]), json!([{ "route": "r/x" }])),
    ] {
        assert_eq!(check(user.clone(), key.clone()), [""; 0], "{user} {key}");
    }
}
