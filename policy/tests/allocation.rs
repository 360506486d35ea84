//! A request that passes allocates nothing, once the engine has seen its like: proved by an allocator that counts.

#![allow(unsafe_code, reason = "an allocator can't be written without")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use spillway_policy::engine::{Outcome, Verdict};
use spillway_policy::store::Memory;

use self::request::{Asked, engine};

#[path = "sample/request.rs"]
mod request;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is the system allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MS: u64 = 1_000_000;

/// Allocations in 20,000 requests of three tenants, over ten seconds with a tick each 50 ms, after as many that do not count.
fn allocations(policy: &str) -> u64 {
    let (mut engine, mut store) = (engine(policy), Memory::default());
    let requests = [&b"acme"[..], b"umbrella", b"initech"]
        .map(|tenant| Asked { tenant, path: b"/orders/acme/items?q=1" });
    let (mut allocations, mut admitted) = (0, 0);
    for number in 0..40_000_u64 {
        if number == 20_000 {
            (allocations, admitted) = (0, 0);
        }
        let now = 1_000 * MS + number * MS / 2;
        let request = requests.iter().cycle().nth(usize::try_from(number % 3).unwrap()).unwrap();
        if number % 100 == 0 {
            engine.tick(&mut store, now);
        }
        let before = ALLOCATIONS.get();
        let Verdict::Admit(admission) = engine.decide(request, &mut store, now).verdict else { continue };
        admitted += 1;
        let outcome = Outcome { status: Some(200), latency: Some(MS), ..Outcome::default() };
        engine.complete(admission, outcome, &mut store, now + MS / 4);
        allocations += ALLOCATIONS.get() - before;
    }
    assert_eq!(admitted, 20_000, "all of them pass");
    assert_eq!(engine.store_failures(), 0);
    allocations
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![1_u8]));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn limits_allocate_nothing() {
    assert_eq!(allocations(r#"{"name": "p", "rateLimits": [{"name": "r", "rate": "100000/s"}]}"#), 0);
    assert_eq!(
        allocations(r#"{"name": "p", "rateLimits": [{"name": "r", "rate": "1000000/h", "burst": 1000000}]}"#),
        0
    );
}

#[test]
fn limits_by_key_allocate_nothing() {
    let policy = r#"{"name": "p", "appliesTo": [{"routePrefix": "orders/"}],
        "routeKey": [{"template": "/orders/{tenant}/**", "key": "{tenant}"}],
        "rateLimits": [
            {"name": "a", "rate": "100000/s", "key": ["routeKey"]},
            {"name": "b", "rate": "100000/s", "key": ["routeKey", {"header": "x-tenant"}], "overrides": [{"key": "acme:acme", "rate": "9000/s"}]},
            {"name": "c", "rate": "100000/s", "key": [{"query": "q"}], "when": [{"path": {"value": "/orders"}}], "rateLimitHeaders": true},
            {"name": "d", "rate": "1000000/h", "burst": 1000000, "key": [{"clientAddress": {"prefix": 24}}]}]}"#;
    assert_eq!(allocations(policy), 0);
}

#[test]
fn breakers_allocate_nothing() {
    let policy = r#"{"name": "p", "circuitBreakers": [
        {"name": "a", "window": "10s", "minRequests": 1, "trip": {"errorRatio": "50%"}, "openFor": "1s", "probes": 1},
        {"name": "b", "key": ["backend"], "window": "10s", "minRequests": 1, "trip": {"slow": {"over": "1s", "ratio": "50%"}}, "openFor": "1s", "probes": 1}]}"#;
    assert_eq!(allocations(policy), 0);
}

#[test]
fn concurrency_allocates_nothing() {
    let policy = r#"{"name": "p", "concurrency": [{"name": "a", "max": 100},
        {"name": "b", "key": [{"header": "x-tenant"}], "adaptive": {"min": 10, "max": 1000}}]}"#;
    assert_eq!(allocations(policy), 0);
}

#[test]
fn everything_at_once_allocates_nothing() {
    let policy = r#"{"name": "p", "routeKey": [{"header": "x-tenant"}],
        "rateLimits": [{"name": "r", "rate": "100000/s", "key": ["routeKey"]}],
        "circuitBreakers": [{"name": "b", "key": ["backend"], "window": "10s", "minRequests": 1, "trip": {"errorRatio": "50%"}, "openFor": "1s", "probes": 1}],
        "concurrency": [{"name": "c", "key": ["backend"], "max": 100}],
        "priority": {"from": [{"header": "x-priority"}], "default": "normal", "levels": ["normal", "low"]},
        "degrade": [{"name": "d", "when": {"saturation": "80%", "p99": "2s"}, "shed": ["low"]}]}"#;
    assert_eq!(allocations(policy), 0);
}
