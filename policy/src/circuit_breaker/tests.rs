mod census;
mod interleaving;
mod record;
mod sentinel;

use serde_json::{Value, json};

use crate::decision::{Admission, Outcome};
use crate::engine::{BreakerState, Engine};
use crate::testing::*;

use super::*;

const OK: Outcome =
    Outcome { status: Some(200), grpc_status: None, reset: false, client_gone: false, latency: None };
const FAILED: Outcome = Outcome { status: Some(503), ..OK };
const GONE: Outcome = Outcome { status: None, client_gone: true, ..OK };

/// Opens at half failures of at least four, for two seconds; three probes.
fn breaker(key: &Value) -> Value {
    json!([{ "name": "p", "circuitBreakers": [{
        "name": "b", "key": key, "window": "10s", "minRequests": 4, "trip": { "errorRatio": "50%" }, "openFor": "2s", "probes": 3 }] }])
}

fn keyless() -> Engine {
    engine(breaker(&json!([])))
}

fn ask<S: Store>(engine: &mut Engine, request: &Described, store: &mut S, now: u64) -> Option<Admission> {
    admitted(engine.decide(request, store, now).verdict)
}

/// Asks and completes at once. Whether it passed.
fn send(engine: &mut Engine, request: &Described, outcome: Outcome, store: &mut Shared, now: u64) -> bool {
    let Some(admission) = ask(engine, request, store, now) else { return false };
    engine.complete(admission, outcome, store, now);
    true
}

/// An open breaker, since `now`.
fn opened(engine: &mut Engine, store: &mut Shared, now: u64) {
    for _ in 0..4 {
        assert!(send(engine, &Described::default(), FAILED, store, now));
    }
    engine.retire(store, now);
    assert_eq!(changes(engine), ["open"]);
}

fn changes(engine: &mut Engine) -> Vec<&'static str> {
    engine.take_transitions().iter().map(|transition| transition.to.as_str()).collect()
}

#[test]
fn it_opens_at_the_ratio_and_not_below_the_minimum() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    let mut now = SECOND;
    for outcome in [FAILED, FAILED, FAILED] {
        now += 10 * MS;
        assert!(send(&mut engine, &request, outcome, &mut store, now));
    }
    assert_eq!(changes(&mut engine), [""; 0], "three are fewer than four");
    now += 10 * MS;
    assert!(send(&mut engine, &request, OK, &mut store, now));
    assert_eq!(changes(&mut engine), [""; 0], "what is well can wait");
    engine.tick(&mut store, now);
    assert_eq!(changes(&mut engine), ["open"], "three of four failed");
    let decision = engine.decide(&request, &mut store, now);
    assert_eq!(rejected(&decision.verdict).as_deref(), Some("circuit-breaker/p/b after 2"));

    let (mut store, mut engine) = (Shared::default(), keyless());
    for outcome in [OK, OK, OK, OK, OK, FAILED, FAILED, FAILED, FAILED] {
        now += 10 * MS;
        assert!(send(&mut engine, &request, outcome, &mut store, now), "never half of them");
    }
    now += 10 * MS;
    assert!(send(&mut engine, &request, FAILED, &mut store, now));
    assert!(ask(&mut engine, &request, &mut store, now + 5 * MS).is_none());
    assert_eq!(changes(&mut engine), ["open"], "half of them");
}

#[test]
fn outcomes_leave_the_window() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    for _ in 0..3 {
        assert!(send(&mut engine, &request, FAILED, &mut store, SECOND));
    }
    engine.tick(&mut store, SECOND + 10 * MS);
    assert!(send(&mut engine, &request, FAILED, &mut store, 11 * SECOND));
    engine.retire(&mut store, 11 * SECOND);
    assert_eq!(changes(&mut engine), [""; 0], "the first three are ten seconds old");
    for at in [12, 14, 20] {
        assert!(send(&mut engine, &request, FAILED, &mut store, at * SECOND));
    }
    assert_eq!(changes(&mut engine), ["open"], "four within ten seconds");
}

#[test]
fn clients_that_go_away_are_no_outcomes() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    for _ in 0..10 {
        assert!(send(&mut engine, &request, GONE, &mut store, SECOND));
        assert!(send(&mut engine, &request, Outcome::default(), &mut store, SECOND));
    }
    for _ in 0..3 {
        assert!(send(&mut engine, &request, FAILED, &mut store, SECOND));
    }
    engine.retire(&mut store, SECOND);
    assert_eq!(changes(&mut engine), [""; 0]);
}

#[test]
fn open_means_open_on_every_worker_within_five_milliseconds() {
    let (mut store, request) = (Shared::default(), Described::default());
    let (mut one, mut other) = (keyless(), keyless());
    assert!(ask(&mut other, &request, &mut store, SECOND).is_some());
    opened(&mut one, &mut store, SECOND);
    assert!(ask(&mut one, &request, &mut store, SECOND).is_none());
    assert!(ask(&mut other, &request, &mut store, SECOND + 5 * MS).is_none());
    assert!(ask(&mut keyless(), &request, &mut store, SECOND).is_none());
    assert_eq!(changes(&mut other), [""; 0], "a change is reported by the worker that made it");
}

#[test]
fn workers_add_their_outcomes_up() {
    let (mut store, request) = (Shared::default(), Described::default());
    let mut workers = [keyless(), keyless(), keyless(), keyless()];
    for worker in &mut workers {
        assert!(send(worker, &request, FAILED, &mut store, SECOND));
    }
    assert_eq!(workers.iter_mut().flat_map(changes).collect::<Vec<_>>(), ["open"], "one each");
}

#[test]
fn while_open_or_closed_most_requests_do_not_ask_the_store() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    assert!(send(&mut engine, &request, OK, &mut store, SECOND));
    let asked = store.operations.get();
    for _ in 0..100 {
        assert!(send(&mut engine, &request, OK, &mut store, SECOND + 4 * MS));
    }
    assert_eq!(store.operations.get(), asked);
    let (mut store, mut engine) = (Shared::default(), keyless());
    opened(&mut engine, &mut store, SECOND);
    let asked = store.operations.get();
    for now in [SECOND, 2 * SECOND, 3 * SECOND - 1] {
        assert!(ask(&mut engine, &request, &mut store, now).is_none());
    }
    assert_eq!(store.operations.get(), asked);
}

#[test]
fn exactly_the_probes_pass_and_all_must_succeed() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    opened(&mut engine, &mut store, SECOND);
    let now = 3 * SECOND;
    let mut probes: Vec<_> = (0..10).filter_map(|_| ask(&mut engine, &request, &mut store, now)).collect();
    assert_eq!(probes.len(), 3);
    assert!(probes.iter().all(Admission::is_probe));
    assert_eq!(changes(&mut engine), ["half-open"]);
    let decision = engine.decide(&request, &mut store, now);
    assert_eq!(rejected(&decision.verdict).as_deref(), Some("circuit-breaker/p/b after 1"));

    let last = probes.pop().unwrap();
    for probe in probes {
        engine.complete(probe, OK, &mut store, now);
        assert!(ask(&mut engine, &request, &mut store, now).is_none(), "a success is no new ticket");
    }
    engine.complete(last, OK, &mut store, now);
    assert_eq!(changes(&mut engine), ["closed"]);
    let after = ask(&mut engine, &request, &mut store, now).unwrap();
    assert!(!after.is_probe() && after.is_watched());
    // The failures from before the opening are forgotten.
    engine.complete(after, FAILED, &mut store, now);
    engine.retire(&mut store, now);
    assert_eq!(changes(&mut engine), [""; 0]);
}

#[test]
fn one_failed_probe_opens_it_again_for_the_whole_time() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    opened(&mut engine, &mut store, SECOND);
    let mut probes: Vec<_> =
        (0..3).filter_map(|_| ask(&mut engine, &request, &mut store, 3 * SECOND)).collect();
    engine.complete(probes.pop().unwrap(), FAILED, &mut store, 4 * SECOND);
    assert_eq!(changes(&mut engine), ["half-open", "open"]);
    for probe in probes {
        engine.complete(probe, OK, &mut store, 4 * SECOND);
    }
    assert!(ask(&mut engine, &request, &mut store, 6 * SECOND - 1).is_none());
    assert!(ask(&mut engine, &request, &mut store, 6 * SECOND).unwrap().is_probe());
}

#[test]
fn requests_from_before_the_opening_are_no_probe_results() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    let early: Vec<_> = (0..9).filter_map(|_| ask(&mut engine, &request, &mut store, SECOND)).collect();
    opened(&mut engine, &mut store, SECOND);
    let mut probes: Vec<_> =
        (0..3).filter_map(|_| ask(&mut engine, &request, &mut store, 3 * SECOND)).collect();
    for (number, admission) in early.into_iter().enumerate() {
        engine.complete(admission, if number % 2 == 0 { OK } else { FAILED }, &mut store, 3 * SECOND);
        engine.tick(&mut store, 3 * SECOND + number as u64 * 10 * MS);
    }
    assert_eq!(changes(&mut engine), ["half-open"]);
    for probe in probes.drain(..) {
        engine.complete(probe, OK, &mut store, 4 * SECOND);
    }
    assert_eq!(changes(&mut engine), ["closed"]);
}

#[test]
fn requests_from_before_the_opening_say_nothing_about_the_time_after_it() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    let mut slow = keyless();
    let early: Vec<_> = (0..18).filter_map(|_| ask(&mut slow, &request, &mut store, SECOND)).collect();
    let late = early.len() / 2;
    // The store does not hear of most of these until the breaker is closed again.
    let mut early = early.into_iter();
    for admission in early.by_ref().take(late) {
        slow.complete(admission, FAILED, &mut store, SECOND);
    }
    opened(&mut engine, &mut store, SECOND);
    for _ in 0..3 {
        assert!(send(&mut engine, &request, OK, &mut store, 3 * SECOND));
    }
    assert_eq!(changes(&mut engine), ["half-open", "closed"]);
    slow.tick(&mut store, 4 * SECOND);
    for admission in early {
        slow.complete(admission, FAILED, &mut store, 4 * SECOND);
    }
    slow.retire(&mut store, 4 * SECOND);
    assert_eq!(changes(&mut slow), [""; 0]);
    assert!(ask(&mut keyless(), &request, &mut store, 4 * SECOND).is_some());
}

#[test]
fn a_probe_whose_end_nobody_knows_gives_its_ticket_back() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    opened(&mut engine, &mut store, SECOND);
    let mut probes: Vec<_> =
        (0..3).filter_map(|_| ask(&mut engine, &request, &mut store, 3 * SECOND)).collect();
    engine.complete(probes.pop().unwrap(), GONE, &mut store, 3 * SECOND);
    probes.extend((0..3).filter_map(|_| ask(&mut engine, &request, &mut store, 3 * SECOND)));
    assert_eq!(probes.len(), 3, "one more");
    for probe in probes {
        engine.complete(probe, OK, &mut store, 3 * SECOND);
    }
    assert_eq!(changes(&mut engine), ["half-open", "closed"]);
}

#[test]
fn a_lost_probe_s_ticket_expires_and_counts_no_more() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    opened(&mut engine, &mut store, SECOND);
    let lost: Vec<_> = (0..3).filter_map(|_| ask(&mut engine, &request, &mut store, 3 * SECOND)).collect();
    assert!(ask(&mut engine, &request, &mut store, 33 * SECOND - 1).is_none());
    let found: Vec<_> = (0..9).filter_map(|_| ask(&mut engine, &request, &mut store, 33 * SECOND)).collect();
    assert_eq!(found.len(), 3);
    for admission in lost {
        engine.complete(admission, FAILED, &mut store, 33 * SECOND);
    }
    assert_eq!(changes(&mut engine), ["half-open"]);
    for admission in found {
        engine.complete(admission, OK, &mut store, 33 * SECOND);
    }
    assert_eq!(changes(&mut engine), ["closed"]);
}

#[test]
fn an_edited_rule_keeps_the_breaker_open_and_follows_the_new_times() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    opened(&mut engine, &mut store, SECOND);
    let edited = |window: &str, open_for: &str, probes: u32| {
        engine_at(
            2,
            json!([{ "name": "p", "circuitBreakers": [{
            "name": "b", "window": window, "minRequests": 9, "trip": { "errorRatio": "90%" }, "openFor": open_for, "probes": probes }] }]),
        )
    };
    assert!(ask(&mut edited("1m", "10s", 1), &request, &mut store, 11 * SECOND - 1).is_none());
    let mut shorter = edited("1s", "1500ms", 5);
    assert!(ask(&mut shorter, &request, &mut store, 2 * SECOND).is_none());
    let probe = ask(&mut shorter, &request, &mut store, 2 * SECOND + 500 * MS).unwrap();
    shorter.complete(probe, OK, &mut store, 3 * SECOND);
    assert_eq!(changes(&mut shorter), ["half-open"], "one of five");

    let mut fewer = edited("1s", "1500ms", 1);
    assert!(!ask(&mut fewer, &request, &mut store, 3 * SECOND).unwrap().is_probe());
    assert_eq!(changes(&mut fewer), ["closed"], "one has succeeded already");
}

#[test]
fn an_edited_window_keeps_its_counts() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    for at in [1, 3, 8] {
        assert!(send(&mut engine, &request, FAILED, &mut store, at * SECOND));
    }
    let with_window = |window: &str| {
        engine_at(
            2,
            json!([{ "name": "p", "circuitBreakers": [{
            "name": "b", "window": window, "minRequests": 3, "trip": { "errorRatio": "50%" }, "openFor": "2s", "probes": 3 }] }]),
        )
    };
    let mut narrow = with_window("2s");
    assert!(send(&mut narrow, &request, FAILED, &mut store, 9 * SECOND));
    assert_eq!(changes(&mut narrow), [""; 0], "two of the last two seconds");
    let mut wide = with_window("1m");
    assert!(send(&mut wide, &request, FAILED, &mut store, 9 * SECOND + 10 * MS));
    assert_eq!(changes(&mut wide), ["open"], "and one more makes three");
}

#[test]
fn backends_have_breakers_of_their_own() {
    let (mut store, mut engine) = (Shared::default(), engine(breaker(&json!(["backend"]))));
    let (bad, good) = (Described::backend("orders-v2"), Described::backend("orders-v1"));
    for _ in 0..4 {
        assert!(send(&mut engine, &bad, FAILED, &mut store, SECOND));
        assert!(send(&mut engine, &good, OK, &mut store, SECOND));
    }
    engine.retire(&mut store, SECOND);
    assert!(ask(&mut engine, &bad, &mut store, SECOND).is_none());
    assert!(ask(&mut engine, &good, &mut store, SECOND).is_some());
}

#[test]
fn a_rejected_request_takes_no_tokens_and_no_ticket() {
    let mut store = Shared::default();
    let mut policy = breaker(&json!([{ "header": "k" }]));
    policy[0]["rateLimits"] = json!([{ "name": "r", "rate": "1/h", "burst": 6 }]);
    let mut engine = engine(policy);
    let request = Described::default().header("k", "a");
    for _ in 0..4 {
        assert!(send(&mut engine, &request, FAILED, &mut store, SECOND));
    }
    engine.tick(&mut store, SECOND + 10 * MS);
    for _ in 0..10 {
        let decision = engine.decide(&request, &mut store, SECOND + 20 * MS);
        assert_eq!(rejected(&decision.verdict).as_deref(), Some("circuit-breaker/p/b after 2"));
    }
    // Two tokens are left: one for a request past the breaker, one for a probe; the limit rejects the next probes.
    assert!(ask(&mut engine, &Described::default().header("k", "b"), &mut store, SECOND + 20 * MS).is_some());
    let probe = ask(&mut engine, &request, &mut store, 4 * SECOND).unwrap();
    assert!(probe.is_probe());
    for _ in 0..10 {
        let decision = engine.decide(&request, &mut store, 4 * SECOND);
        assert!(rejected(&decision.verdict).unwrap().starts_with("rate-limit/p/r"));
    }
    let slow = engine_at(2, breaker(&json!([{ "header": "k" }])));
    let tickets = [slow].into_iter().flat_map(|mut engine| {
        (0..9).filter_map(|_| ask(&mut engine, &request, &mut store, 4 * SECOND)).collect::<Vec<_>>()
    });
    assert_eq!(tickets.count(), 2, "of three");
}

#[test]
fn outcomes_reach_the_store_before_a_worker_forgets_their_key() {
    let mut store = Shared::default();
    let mut engine = engine(breaker(&json!([{ "header": "k" }])));
    for bad in 0..40 {
        let bad = Described::default().header("k", format!("bad-{bad}"));
        for _ in 0..4 {
            assert!(send(&mut engine, &bad, FAILED, &mut store, SECOND));
        }
    }
    assert!(changes(&mut engine).len() < 5, "three of four are waiting");
    for key in 0..2_500_u32 {
        let other = Described::default().header("k", key.to_le_bytes());
        assert!(send(&mut engine, &other, OK, &mut store, SECOND));
    }
    let opened = changes(&mut engine);
    // Whose place nobody took is still remembered.
    assert!((25..=40).contains(&opened.len()) && opened.iter().all(|to| *to == "open"), "{opened:?}");
}

#[test]
fn keys_without_number_need_bounded_memory_and_do_not_push_an_open_breaker_out() {
    let mut store = Shared::default();
    let mut engine = engine(breaker(&json!([{ "header": "k" }])));
    let bad = Described::default().header("k", "bad");
    for _ in 0..4 {
        assert!(send(&mut engine, &bad, FAILED, &mut store, SECOND));
    }
    engine.tick(&mut store, SECOND + 10 * MS);
    let mut request = Described::default();
    for key in 0..20_000_u32 {
        request.headers.insert("k".into(), key.to_le_bytes().into());
        assert!(send(&mut engine, &request, OK, &mut store, SECOND + 20 * MS));
    }
    assert!(ask(&mut engine, &bad, &mut store, SECOND + 30 * MS).is_none());
    assert_eq!(engine.store_failures(), 0);
    let memory = store.memory.borrow();
    assert_eq!(memory.len(), 1_024 + 2, "the seed and the marks besides");
    assert!(memory.bytes() < 768 << 10, "{} bytes", memory.bytes());
}

#[test]
fn while_all_probes_are_out_most_requests_do_not_ask_the_store() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    opened(&mut engine, &mut store, SECOND);
    let now = 3 * SECOND;
    assert_eq!((0..9).filter_map(|_| ask(&mut engine, &request, &mut store, now)).count(), 3);
    let asked = store.operations.get();
    for _ in 0..50 {
        assert!(ask(&mut engine, &request, &mut store, now + MS - 1).is_none());
    }
    assert_eq!(store.operations.get(), asked);
    assert!(ask(&mut engine, &request, &mut store, now + MS).is_none());
    assert!(store.operations.get() > asked, "one of them may have been decided by now");
}

#[test]
fn outcomes_of_a_key_that_the_worker_has_forgotten_count() {
    let mut store = Shared::default();
    let mut engine = engine(breaker(&json!([{ "header": "k" }])));
    let mut begun = Vec::new();
    for bad in 0..20 {
        let bad = Described::default().header("k", format!("bad-{bad}"));
        begun.extend((0..4).filter_map(|_| ask(&mut engine, &bad, &mut store, SECOND)));
    }
    for key in 0..2_500_u32 {
        let other = Described::default().header("k", key.to_le_bytes());
        assert!(ask(&mut engine, &other, &mut store, SECOND).is_some());
    }
    for admission in begun {
        engine.complete(admission, FAILED, &mut store, SECOND);
    }
    engine.retire(&mut store, SECOND);
    // Some have lost their place in the store, too.
    assert!(changes(&mut engine).len() >= 10);
}

#[test]
fn what_a_clock_wrote_that_was_set_back_since_holds_nobody_up() {
    let (mut store, mut engine, request) = (Shared::default(), keyless(), Described::default());
    opened(&mut engine, &mut store, 100 * SECOND);
    assert!(
        ask(&mut keyless(), &request, &mut store, SECOND).unwrap().is_probe(),
        "open since some day to come"
    );

    let (mut store, mut engine) = (Shared::default(), keyless());
    for _ in 0..3 {
        assert!(send(&mut engine, &request, FAILED, &mut store, 100 * SECOND));
    }
    engine.retire(&mut store, 100 * SECOND);
    let mut engine = keyless();
    for expected in [&[][..], &["open"]] {
        for _ in 0..if expected.is_empty() { 1 } else { 3 } {
            assert!(send(&mut engine, &request, FAILED, &mut store, SECOND));
        }
        engine.retire(&mut store, SECOND);
        assert_eq!(changes(&mut engine), expected, "the window begins anew");
    }
}
