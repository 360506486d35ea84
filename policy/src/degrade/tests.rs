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
