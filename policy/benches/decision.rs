//! What a decision costs, without any host: `cargo xtask bench policy`. Time is an argument of the engine, so it goes on by a microsecond with each request and leases
//! and visits to the store are paid for at the pace of a million requests a second.

#![allow(missing_docs, reason = "criterion's macros")]
#![allow(clippy::unwrap_used, reason = "a configuration that does not parse ends the benchmark")]

use std::hint::black_box;
use std::num::NonZeroU32;

use criterion::{Criterion, criterion_group, criterion_main};
use spillway_policy::engine::{Outcome, Verdict};
use spillway_policy::store::Memory;

use self::request::{Asked, engine};

#[path = "../tests/sample/request.rs"]
mod request;

const REQUEST: Asked = Asked { tenant: b"acme", path: b"/orders/acme/items" };

/// Measures `decide`, and `complete` where `completes`.
fn measure(criterion: &mut Criterion, name: &str, policy: &str, completes: bool) {
    let (mut engine, mut store, mut now) = (engine(policy), Memory::default(), 1_000_000_000);
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            now += 1_000;
            let decision = engine.decide(black_box(&REQUEST), &mut store, now);
            if completes && let Verdict::Admit(admission) = decision.verdict {
                let outcome = Outcome { status: Some(200), latency: Some(900), ..Outcome::default() };
                engine.complete(admission, outcome, &mut store, now);
            }
        });
    });
}

fn decisions(criterion: &mut Criterion) {
    let limit = r#"{"name": "p", "rateLimits": [{"name": "r", "rate": "4000000/s"}]}"#;
    measure(criterion, "limit", limit, false);
    let keyed = r#"{"name": "p", "rateLimits": [{"name": "r", "rate": "4000000/s", "key": [{"header": "x-tenant"}]}]}"#;
    measure(criterion, "limit by a header", keyed, false);
    let exact =
        r#"{"name": "p", "rateLimits": [{"name": "r", "rate": "4000000/s", "rateLimitHeaders": true}]}"#;
    measure(criterion, "limit with headers (store)", exact, false);
    let empty = r#"{"name": "p", "rateLimits": [{"name": "r", "rate": "1/h"}]}"#;
    measure(criterion, "limit that rejects (store)", empty, false);
    let breaker = r#"{"name": "p", "circuitBreakers": [{"name": "b", "window": "10s", "minRequests": 20,
        "trip": {"errorRatio": "50%"}, "openFor": "30s", "probes": 5}]}"#;
    measure(criterion, "breaker", breaker, false);
    measure(criterion, "breaker and its outcome", breaker, true);
    let bulkhead = r#"{"name": "p", "concurrency": [{"name": "c", "max": 100}]}"#;
    measure(criterion, "concurrency, in and out", bulkhead, true);
    let all = r#"{"name": "p", "routeKey": [{"header": "x-tenant"}],
        "rateLimits": [{"name": "r", "rate": "4000000/s", "key": ["routeKey"]}],
        "circuitBreakers": [{"name": "b", "key": ["backend"], "window": "10s", "minRequests": 20, "trip": {"errorRatio": "50%"}, "openFor": "30s", "probes": 5}],
        "concurrency": [{"name": "c", "key": ["backend"], "max": 100}]}"#;
    measure(criterion, "limit by key, breaker and concurrency by backend", all, true);
}

fn keys(criterion: &mut Criterion) {
    let templates: Vec<String> = (0..1_000)
        .map(|n| format!(r#"{{"template": "/service-{n}/{{tenant}}/**", "key": "{{tenant}}"}}"#))
        .collect();
    let mut engine = engine(&format!(r#"{{"name": "p", "routeKey": [{}]}}"#, templates.join(",")));
    let (mut store, mut now) = (Memory::default(), 1_000_000_000);
    for (name, path) in [
        ("first", &b"/service-0/acme/items"[..]),
        ("last", b"/service-999/acme/items"),
        ("none", b"/other/acme/items"),
    ] {
        criterion.bench_function(&format!("key among 1,000 templates, {name}"), |bencher| {
            bencher.iter(|| {
                now += 1_000;
                let request = Asked { tenant: b"", path };
                black_box(engine.decide(black_box(&request), &mut store, now).key);
            });
        });
    }
}

fn reference(criterion: &mut Criterion) {
    let rate = governor::Quota::per_second(NonZeroU32::new(4_000_000).unwrap());
    let direct = governor::RateLimiter::direct(rate);
    criterion.bench_function("governor", |bencher| bencher.iter(|| black_box(direct.check().is_ok())));
    let keyed = governor::RateLimiter::hashmap(rate);
    let key = "acme".to_owned();
    criterion.bench_function("governor by key", |bencher| {
        bencher.iter(|| black_box(keyed.check_key(&key).is_ok()));
    });
}

criterion_group!(benches, decisions, keys, reference);
criterion_main!(benches);
