//! What no rule of a kind can be.

use serde_json::{Value, json};

use super::*;

#[test]
fn a_policy_has_at_most_sixteen_degrade_rules_and_their_parts_are_checked_where_they_stand() {
    let policy = |count: usize| {
        let rule = |number: usize| json!({ "name": format!("d{number}"), "when": { "errors": "50%" }, "admit": "9%" });
        json!({ "degrade": (0..count).map(rule).collect::<Vec<_>>() })
    };
    assert_eq!(policy_problems(policy(16)), [""; 0]);
    for count in [17, 18] {
        assert_eq!(policy_problems(policy(count)), [format!("degrade: at most 16 rules, found {count}")]);
    }
    let mut wrong = policy(2);
    wrong["degrade"][1]["response"] = json!({ "status": 99 });
    wrong["degrade"][1]["only"] = json!([{ "method": "?" }, { "method": "" }]);
    let found = policy_problems(wrong);
    assert!(found.iter().any(|line| line.starts_with("degrade[1].response.status: ")), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("degrade[1].only[1]")), "{found:?}");
}

/// The problems of a policy with this one rule of a kind, without the rule's place.
fn rule_problems(kind: &str, mut rule: Value) -> Vec<String> {
    rule["name"] = json!("r");
    let problems = policy_problems(json!({ kind: [rule] }));
    let place = format!("{kind}[0]");
    problems
        .iter()
        .map(|line| line.strip_prefix(&place).unwrap().trim_start_matches('.').to_owned())
        .collect()
}

#[test]
fn a_limit_s_parts_are_checked_where_they_stand() {
    let limit = |mut more: Value| {
        more["rate"] = json!("1/s");
        rule_problems("rateLimits", more)
    };
    assert_eq!(
        limit(json!({ "response": { "status": 99 } })),
        ["response.status: expected a status from 200 to 599, found 99"]
    );
    assert!(limit(json!({ "when": [{ "method": "" }] }))[0].starts_with("when[0]"));
    assert_eq!(
        limit(json!({ "overrides": [{ "key": "k", "unlimited": true }] })),
        ["overrides: a limit without key has nothing to override"]
    );
    let overridden = |overrides: Value| limit(json!({ "key": ["backend"], "overrides": overrides }));
    let long = |length: usize| json!([{ "key": "k".repeat(length), "unlimited": true }]);
    assert_eq!(overridden(long(256)), [""; 0]);
    for length in [257, 258] {
        assert_eq!(
            overridden(long(length)),
            ["overrides[0].key: a key of more than 256 bytes is never seen: it is hashed"]
        );
    }
    assert_eq!(
        overridden(
            json!([{ "key": "k", "unlimited": true }, { "key": "k", "rate": "1/s", "unlimited": true }, { "key": "l" }])
        ),
        [
            "overrides[1].key: \"k\" has an override already",
            "overrides[1]: expected either a rate, with or without a burst, or unlimited: true",
            "overrides[2]: expected either a rate, with or without a burst, or unlimited: true"
        ]
    );
}

#[test]
fn a_bulkhead_is_fixed_or_adaptive_between_bounds() {
    let bulkhead = |rule: Value| rule_problems("concurrency", rule);
    let adaptive = |min: u32, max: u32| bulkhead(json!({ "adaptive": { "min": min, "max": max } }));
    assert_eq!(adaptive(1, 2), [""; 0]);
    assert_eq!(adaptive(2, 2), [""; 0]);
    assert_eq!(adaptive(3, 2), ["adaptive: min is 3, more than max, which is 2"]);
    for both_or_none in [json!({}), json!({ "max": 3, "adaptive": { "min": 1, "max": 2 } })] {
        assert_eq!(bulkhead(both_or_none), [": expected exactly one of max and adaptive"]);
    }
}

#[test]
fn a_priority_s_levels_are_names_and_the_default_is_one() {
    let priority = |levels: Value| {
        policy_problems(
            json!({ "priority": { "from": [{ "header": "x p" }], "default": "low", "levels": levels } }),
        )
    };
    assert_eq!(
        priority(json!(["high", "high", "?"])),
        [
            "priority.from[0].header: expected a header name such as x-tenant-id, found \"x p\"",
            "priority.levels[1]: \"high\" is there twice",
            "priority.levels[2]: expected a name of 1 to 63 characters a-z, 0-9 and '-', found \"?\"",
            "priority.default: \"low\" is none of the levels"
        ]
    );
    assert_eq!(priority(json!([&"l".repeat(63), "low"])).len(), 1);
    assert_eq!(priority(json!([&"l".repeat(64), "low"])).len(), 2);
}

#[test]
fn a_breaker_s_backoff_is_neither_steep_nor_shorter_than_the_first_time() {
    let backoff = |factor: u32, max: &str| {
        rule_problems(
            "circuitBreakers",
            json!({ "window": "10s", "minRequests": 1, "trip": { "errorCount": 1 }, "openFor": "2s", "probes": 1,
                "backoff": { "factor": factor, "max": max } }),
        )
    };
    for (factor, max) in [(1, "2s"), (100, "3s")] {
        assert_eq!(backoff(factor, max), [""; 0]);
    }
    for factor in [101, 102] {
        assert_eq!(backoff(factor, "2s"), [format!("backoff.factor: expected 1 to 100, found {factor}")]);
    }
    assert_eq!(backoff(1, "1s"), ["backoff.max: 1s is less than openFor"]);
}

#[test]
fn what_a_key_names_must_be_a_name() {
    let key = |source: Value| rule_problems("rateLimits", json!({ "rate": "1/s", "key": [source] }));
    for right in [
        json!({ "cookie": "c" }),
        json!({ "grpc": { "metadata": "m" } }),
        json!({ "clientAddress": { "prefix": 128 } }),
    ] {
        assert_eq!(key(right), [""; 0]);
    }
    for (wrong, place) in [
        (json!({ "cookie": "c c" }), "key[0].cookie"),
        (json!({ "grpc": { "metadata": "m m" } }), "key[0].grpc.metadata"),
        (json!({ "clientAddress": { "prefix": 129 } }), "key[0].clientAddress.prefix"),
    ] {
        let found = key(wrong);
        assert!(found.len() == 1 && found[0].starts_with(place), "{found:?}");
    }
}

#[test]
fn what_is_just_right_is_right() {
    let response = |length: usize| {
        rule_problems("rateLimits", json!({ "rate": "1/s", "response": { "body": "b".repeat(length) } }))
    };
    assert_eq!(response(16 << 10), [""; 0]);
    assert_eq!(response((16 << 10) + 1), ["response.body: at most 16384 bytes, found 16385"]);
    let cost = |max: u32| {
        rule_problems(
            "rateLimits",
            json!({ "rate": "1/s", "burst": 5, "cost": { "header": "x-cost", "max": max } }),
        )
    };
    assert_eq!(cost(5), [""; 0]);
    assert_eq!(cost(6), ["cost.max: a request that costs 6 could never pass: a full bucket holds 5"]);
    let least = |min: u32| {
        let cost = json!({ "header": "x-cost", "min": min, "max": 3, "default": 3 });
        rule_problems("rateLimits", json!({ "rate": "1/s", "burst": 5, "cost": cost }))
    };
    assert_eq!(least(3), [""; 0]);
    assert_eq!(least(4).first().map(String::as_str), Some("cost.min: min is 4, more than max, which is 3"));
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let text = ConfigError::Problems(
        parse(json!([{ "name": "p", "rateLimits": [
        { "name": "a", "rate": "1/s", "cost": 9 }, { "name": "b", "rate": "1/s", "cost": 9 }] }]))
        .problems(),
    )
    .to_string();
    assert!(
        text.contains("rateLimits[0]") && text.contains("; ") && text.contains("rateLimits[1]"),
        "{text}"
    );
}

#[test]
fn a_rule_that_only_watches_or_denies_is_written_so() {
    let text = serde_json::to_string(&parse(json!([{ "name": "p", "rateLimits": [
        { "name": "a", "rate": "1/s", "mode": "shadow", "onFailure": "deny", "rateLimitHeaders": true },
        { "name": "b", "rate": "1/s" }] }])))
    .unwrap();
    assert_eq!(
        Configuration::parse(text.as_bytes()).unwrap(),
        parse(serde_json::from_str::<Value>(&text).unwrap()["policies"].clone())
    );
    for said in ["\"mode\":\"shadow\"", "\"onFailure\":\"deny\"", "\"rateLimitHeaders\":true"] {
        assert_eq!(text.matches(said).count(), 1, "{text}");
    }
    assert!(!text.contains("enforce") && !text.contains("allow"), "what is not said stays unsaid: {text}");
}
