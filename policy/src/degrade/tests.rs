use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{MS, SECOND, Shared as SharedStore};

fn degrading(rules: Value) -> Degrading {
    let rules: Vec<config::Degrade> = serde_json::from_value(rules).unwrap();
    Degrading::new("p".into(), &rules, &mut Needs::default())
}

fn visit(degrading: &mut Degrading, store: &mut SharedStore, now: u64) {
    let mut access = Access { store, bytes: &mut Vec::new(), transitions: &mut Vec::new(), now, since: 0 };
    degrading.visit(&mut access).unwrap();
}

fn is_active(degrading: &Degrading, rule: usize) -> bool {
    degrading.rules[rule].is_active
}

/// Has a share in use for a while; how often the first rule changed.
fn hold(
    degrading: &mut Degrading,
    store: &mut SharedStore,
    now: &mut u64,
    seconds: u64,
    share: impl Fn(u64) -> u16,
) -> usize {
    let mut changes = 0;
    for step in 0..seconds * 10 {
        *now += PACE;
        degrading.saturated(share(step));
        let before = is_active(degrading, 0);
        visit(degrading, store, *now);
        changes += usize::from(before != is_active(degrading, 0));
    }
    changes
}

#[test]
fn it_comes_into_force_at_once_and_goes_when_it_has_been_calm_for_long() {
    let (mut store, mut now) = (SharedStore::default(), 0);
    let mut degrading = degrading(json!([{"name": "mild", "when": {"saturation": "80%"}}]));
    hold(&mut degrading, &mut store, &mut now, 2, |_| 7_999);
    assert!(!is_active(&degrading, 0));
    hold(&mut degrading, &mut store, &mut now, 1, |_| 8_000);
    assert!(is_active(&degrading, 0));
    hold(&mut degrading, &mut store, &mut now, 60, |_| 7_200);
    assert!(is_active(&degrading, 0), "nine tenths are still pressure");
    hold(&mut degrading, &mut store, &mut now, 4, |_| 100);
    assert!(is_active(&degrading, 0));
    hold(&mut degrading, &mut store, &mut now, 3, |_| 100);
    assert!(!is_active(&degrading, 0));
}

#[test]
fn it_does_not_flap_with_a_signal_that_does() {
    let (mut store, mut now) = (SharedStore::default(), 0);
    let mut degrading = degrading(json!([{"name": "mild", "when": {"saturation": "80%"}}]));
    let changes =
        hold(&mut degrading, &mut store, &mut now, 300, |step| if step % 30 < 15 { 9_000 } else { 0 });
    assert_eq!(changes, 1);
}

#[test]
fn conditions_are_all_needed() {
    let mut store = SharedStore::default();
    let mut degrading = degrading(json!([
        {"name": "both", "when": {"saturation": "50%", "p99": "100ms"}},
        {"name": "errors", "when": {"errors": "20%"}}
    ]));
    for _ in 0..19 {
        degrading.answered(true, 200 * MS);
    }
    degrading.saturated(10_000);
    visit(&mut degrading, &mut store, SECOND);
    assert!(!is_active(&degrading, 0) && !is_active(&degrading, 1), "too few answers");
    degrading.answered(true, 200 * MS);
    visit(&mut degrading, &mut store, SECOND + MS);
    assert!(is_active(&degrading, 0) && is_active(&degrading, 1));

    let mut other =
        super::tests::degrading(json!([{"name": "other", "when": {"saturation": "50%", "p99": "1s"}}]));
    let mut store = SharedStore::default();
    for _ in 0..100 {
        other.answered(false, 200 * MS);
    }
    other.saturated(10_000);
    visit(&mut other, &mut store, SECOND);
    assert!(!is_active(&other, 0));
}

#[test]
fn one_slow_answer_in_a_hundred_is_the_ninety_ninth_percentile() {
    for (slow, expected) in [(1, false), (2, true)] {
        let mut degrading = degrading(json!([{"name": "a", "when": {"p99": "100ms"}}]));
        for index in 0..200 {
            degrading.answered(false, if index < slow { 100 * MS } else { MS });
        }
        visit(&mut degrading, &mut SharedStore::default(), SECOND);
        assert_eq!(is_active(&degrading, 0), expected, "{slow}");
    }
}

#[test]
fn what_one_worker_sees_all_obey_and_an_edit_keeps_it() {
    let mut store = SharedStore::default();
    let rules = json!([{"name": "a", "when": {"saturation": "50%"}}]);
    let (mut one, mut two) = (degrading(rules.clone()), degrading(rules));
    one.saturated(6_000);
    visit(&mut one, &mut store, SECOND);
    visit(&mut two, &mut store, SECOND);
    assert!(is_active(&two, 0));
    let mut edited = degrading(json!([
        {"name": "new", "when": {"saturation": "99%"}}, {"name": "a", "when": {"saturation": "40%"}}
    ]));
    visit(&mut edited, &mut store, SECOND);
    assert!(!is_active(&edited, 0) && is_active(&edited, 1));
}

#[test]
fn levels_are_shed_by_name() {
    let mut degrading = degrading(json!([
        {"name": "low", "when": {"saturation": "1%"}, "shed": ["low"]}, {"name": "all", "when": {"saturation": "1%"}}
    ]));
    assert!(!degrading.rules[1].is_about(None), "not in force");
    degrading.saturated(10_000);
    visit(&mut degrading, &mut SharedStore::default(), SECOND);
    assert!(degrading.rules[0].is_about(Some("low")));
    assert!(!degrading.rules[0].is_about(Some("normal")) && !degrading.rules[0].is_about(None));
    assert!(degrading.rules[1].is_about(Some("normal")) && degrading.rules[1].is_about(None));
}

#[test]
fn the_record_of_the_most_rules_is_below_its_bound() {
    let rules: Vec<_> = (0..MOST).map(|n| json!({"name": format!("r{n}"), "when": {"p99": "1s"}})).collect();
    let mut store = SharedStore::default();
    let mut degrading = degrading(Value::from(rules));
    visit(&mut degrading, &mut store, SECOND);
    assert!(store.memory.borrow().bytes() < 1024);
}

proptest! {
    #[test]
    fn the_admitted_share_is_exact(admit in 0_u16..=100, requests in 1_u32..500) {
        let mut degrading = degrading(json!([{"name": "a", "when": {"saturation": "1%"}, "admit": format!("{admit}%")}]));
        let admitted = (0..requests).filter(|_| degrading.rules[0].admits()).count();
        prop_assert_eq!(admitted, (requests * u32::from(admit) / 100) as usize);
    }

    #[test]
    fn any_record_is_survived(record in proptest::collection::vec(any::<u8>(), 0..700)) {
        if let Some(shared) = Shared::decode(&record) {
            let mut bytes = Vec::new();
            shared.encode(&mut bytes);
            prop_assert_eq!(Shared::decode(&bytes), Some(shared));
        }
    }
}

#[test]
fn a_span_of_time_knows_the_one_before_it_and_no_other() {
    let turn = Turn { number: 10, current: 5_u16, before: 3 };
    let after = |number| {
        let mut turn = turn;
        turn.advance(number);
        (turn.number, turn.current, turn.before)
    };
    assert_eq!(after(10), (10, 5, 3));
    assert_eq!(after(11), (11, 0, 5), "the next one");
    assert_eq!(after(12), (12, 0, 0), "one was left out");
    assert_eq!(after(9), (10, 5, 3), "another worker's reading of the clock");
    assert_eq!(after(8), (10, 5, 3));
    assert_eq!(after(7), (7, 0, 0), "a clock that was set back");
    assert_eq!(after(1), (1, 0, 0));
}

#[test]
fn each_condition_holds_from_its_threshold_on_and_nine_tenths_of_it_are_still_pressure() {
    let holds = |when: Value, share, tally: &Tally| {
        let one = degrading(json!([{ "name": "d", "when": when }]));
        [10, 9].map(|tenths| one.rules[0].holds(0, share, tally, tenths))
    };
    for (share, expected) in
        [(8_000, [true, true]), (7_999, [false, true]), (7_200, [false, true]), (7_199, [false; 2])]
    {
        assert_eq!(holds(json!({ "saturation": "80%" }), share, &Tally::default()), expected, "{share}");
    }
    let failed = |total, failed| holds(json!({ "errors": "20%" }), 0, &tally(total, failed, [0; 2]));
    for (count, expected) in [(20, [true, true]), (19, [false, true]), (18, [false, true]), (17, [false; 2])]
    {
        assert_eq!(failed(100, count), expected, "{count} of 100 failed");
    }
    assert_eq!((failed(20, 20), failed(19, 19)), ([true; 2], [false; 2]), "so few say nothing");
    let slow = |over, nearly| holds(json!({ "p99": "1s" }), 0, &tally(100, 0, [over, nearly]));
    assert_eq!(slow(1, 1), [true; 2]);
    assert_eq!(slow(0, 1), [false, true], "over nine tenths of the time");
    assert_eq!(slow(1, 0), [true, false]);
}

/// So many answers, of which the first rule finds so many slow and nearly slow.
fn tally(total: u32, failed: u32, first: [u32; 2]) -> Tally {
    let mut slow = [[0; 2]; PLACES];
    slow[0] = first;
    Tally { total, failed, slow }
}

#[test]
fn an_answer_is_slow_from_the_time_on_and_nearly_from_nine_tenths_of_it() {
    for (latency, slow) in [(1_000, [1, 1]), (999, [0, 1]), (900, [0, 1]), (899, [0, 0])] {
        let mut one = degrading(json!([{ "name": "d", "when": { "p99": "1s" } }]));
        one.answered(false, latency * MS);
        assert_eq!(one.pending.slow[0], slow, "{latency} ms");
        assert_eq!((one.pending.total, one.pending.failed), (1, 0));
    }
}

#[test]
fn the_store_is_visited_at_its_pace() {
    let mut one = degrading(json!([{ "name": "d", "when": { "errors": "20%" } }]));
    assert!(one.is_due(SECOND));
    visit(&mut one, &mut SharedStore::default(), SECOND);
    assert!(!one.is_due(SECOND));
    assert!(!one.is_due(SECOND + PACE - 1));
    assert!(one.is_due(SECOND + PACE));
}

#[test]
fn how_long_it_has_been_calm_counts_from_now_where_the_clock_was_set_back() {
    let one = degrading(json!([{ "name": "d", "when": { "saturation": "80%" } }]));
    let id = one.rules[0].id;
    let judged = |calm, now| {
        let mut shared = Shared::default();
        shared.states[0] = State { id, is_active: true, calm };
        one.judge(&shared, now)[0]
    };
    let now = 100 * SECOND;
    let active = |calm| State { id, is_active: true, calm };
    assert_eq!(judged(0, now), active(now));
    assert_eq!(judged(now - CALM + 1, now), active(now - CALM + 1));
    assert_eq!(judged(now + CALM, now), active(now + CALM), "another worker's reading of the clock");
    assert_eq!(judged(now + CALM + 1, now), active(now));
    assert_eq!(judged(now + 9 * CALM, now), active(now));
    assert_eq!(judged(now - CALM, now), State { id, is_active: false, calm: 0 });
}

#[test]
fn rules_of_other_names_have_other_states() {
    let letters = || "abcdefghijklmnopqrstuvwxyz0123456789-".chars();
    let names = letters().flat_map(|a| letters().map(move |b| format!("rule-{a}{b}")));
    let ids: std::collections::BTreeSet<u64> = names.map(|name| id(&name)).collect();
    assert_eq!(ids.len(), 37 * 37);
}

#[test]
fn who_asks_for_slow_answers_needs_to_be_told_how_long_they_took() {
    for (when, latency) in [(json!({ "p99": "1s" }), true), (json!({ "errors": "20%" }), false)] {
        let rules: Vec<config::Degrade> =
            serde_json::from_value(json!([{ "name": "d", "when": when }])).unwrap();
        let mut needs = Needs::default();
        Degrading::new("p".into(), &rules, &mut needs);
        assert_eq!(needs.latency, latency);
        needs.latency = true;
        Degrading::new("p".into(), &rules, &mut needs);
        assert!(needs.latency, "another rule needs it all the same");
    }
}
