use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::testing::{MS, SECOND};

use super::*;

fn terms(rate: &str, burst: u32, revision: u64, since: u64) -> Terms {
    let quota = Quota::new(rate.parse().unwrap(), std::num::NonZeroU32::new(burst));
    Terms { quota, revision, since }
}

/// Takes a token for `key`, if it has one, through bytes as in a store.
fn take(record: &mut Vec<u8>, key: u64, terms: Terms, now: u64, ways: usize) -> bool {
    let mut buckets = Buckets::read(record, terms, now, ways);
    let level = buckets.bucket(key);
    let Some(rest) = level.take(1) else { return false };
    *level = rest;
    buckets.encode(record);
    true
}

fn drain(record: &mut Vec<u8>, key: u64, terms: Terms, now: u64) -> usize {
    (0..10_000).take_while(|_| take(record, key, terms, now, WAYS)).count()
}

#[test]
fn a_raise_takes_effect_at_once_and_so_does_a_cut() {
    let mut record = Vec::new();
    let slow = terms("1/h", 2, 1, 0);
    assert_eq!(drain(&mut record, 1, slow, SECOND), 2);
    let fast = terms("1000000/s", 1000, 2, 2 * SECOND);
    assert_eq!(drain(&mut record, 1, fast, 2 * SECOND), 0, "tokens are kept, and there were none");
    assert_eq!(drain(&mut record, 1, fast, 2 * SECOND + 2_000), 2, "a million a second from then on");
    assert_eq!(drain(&mut record, 1, fast, 3 * SECOND), 1000);
    assert!(take(&mut record, 1, fast, 4 * SECOND, WAYS));

    let slow_again = terms("1/h", 2, 3, 5 * SECOND);
    assert_eq!(drain(&mut record, 1, slow_again, 5 * SECOND), 2, "999 tokens are cut to the new burst");
    assert_eq!(drain(&mut record, 1, slow_again, 60 * SECOND), 0);
}

#[test]
fn time_before_a_change_counts_at_the_rate_of_then() {
    let mut record = Vec::new();
    assert_eq!(drain(&mut record, 1, terms("1/s", 10, 1, 0), SECOND), 10);
    // Nobody comes for four seconds; in the middle of them the rate is doubled.
    let doubled = terms("2/s", 10, 2, 3 * SECOND);
    assert_eq!(drain(&mut record, 1, doubled, 5 * SECOND), 2 + 4);
}

#[test]
fn a_worker_with_an_older_revision_goes_by_the_newer_terms() {
    let mut record = Vec::new();
    let (old, new) = (terms("1000/s", 1000, 1, 0), terms("1/h", 2, 2, SECOND));
    assert!(take(&mut record, 1, old, SECOND, WAYS));
    assert!(take(&mut record, 1, new, SECOND, WAYS));
    assert_eq!(drain(&mut record, 1, old, 2 * SECOND), 1, "one of two tokens is left");
    assert_eq!(drain(&mut record, 1, old, 20 * SECOND), 0);
}

#[test]
fn a_revision_that_began_anew_takes_over_after_a_while() {
    let mut record = Vec::new();
    assert_eq!(drain(&mut record, 1, terms("1/h", 2, 900, SECOND), SECOND), 2);
    let restarted = |since| terms("1000/s", 1000, 3, since);
    assert_eq!(
        drain(&mut record, 1, restarted(5 * SECOND), 6 * SECOND),
        0,
        "a straggler, as far as one can tell"
    );
    assert_eq!(drain(&mut record, 1, restarted(12 * SECOND), 13 * SECOND), 1000);
}

#[test]
fn a_clock_that_runs_backwards_a_little_gives_nothing_twice() {
    let mut record = Vec::new();
    let terms = terms("1000/s", 1000, 1, 0);
    assert_eq!(drain(&mut record, 1, terms, 10 * SECOND), 1000);
    for _ in 0..4 {
        assert!(take(&mut record, 1, terms, 10 * SECOND + 5 * MS, WAYS));
    }
    assert_eq!(drain(&mut record, 1, terms, 10 * SECOND), 1, "the fifth");
    assert_eq!(drain(&mut record, 1, terms, 10 * SECOND + 5 * MS), 0);
    assert_eq!(drain(&mut record, 1, terms, 10 * SECOND + 6 * MS), 1);
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_bucket() {
    let mut record = Vec::new();
    let terms = terms("1000/s", 1000, 1, 0);
    assert_eq!(drain(&mut record, 1, terms, 1_000 * SECOND), 1000);
    assert_eq!(drain(&mut record, 1, terms, 10 * SECOND), 0);
    assert!(!take(&mut record, 1, terms, 10 * SECOND, WAYS));
    // A rejected request writes nothing, so the first that finds a token moves the record's time.
    let mut buckets = Buckets::read(&record, terms, 10 * SECOND, WAYS);
    buckets.encode(&mut record);
    assert_eq!(*buckets.bucket(1), Level::default());
    assert_eq!(drain(&mut record, 1, terms, 10 * SECOND + 5 * MS), 5);
}

#[test]
fn a_record_that_does_not_read_is_one_that_was_never_written() {
    let terms = terms("1/s", 5, 1, 0);
    let mut good = Vec::new();
    assert!(take(&mut good, 1, terms, SECOND, WAYS));
    for length in (0..good.len()).chain([good.len() + 1]) {
        let mut bad = good.clone();
        bad.resize(length, 0);
        assert_eq!(Buckets::read(&bad, terms, SECOND, WAYS), Buckets::new(terms, SECOND, WAYS), "{length}");
    }
    let mut zero_rate = good.clone();
    zero_rate[24..32].fill(0);
    assert_eq!(Buckets::read(&zero_rate, terms, SECOND, WAYS), Buckets::new(terms, SECOND, WAYS));
    assert_ne!(Buckets::read(&good, terms, SECOND, WAYS), Buckets::new(terms, SECOND, WAYS));
}

#[test]
fn an_emptied_key_keeps_its_place_whoever_comes() {
    let terms = terms("1/h", 5, 1, 0);
    let mut record = Vec::new();
    assert_eq!(drain(&mut record, 1, terms, SECOND), 5);
    for other in 2..10_000 {
        take(&mut record, other, terms, SECOND, WAYS);
        assert!(!take(&mut record, 1, terms, SECOND, WAYS), "after {other}");
    }
}

#[test]
fn a_newcomer_takes_over_the_place_with_the_most_tokens() {
    let terms = terms("1/h", 5, 1, 0);
    let mut record = Vec::new();
    for key in 1..=WAYS as u64 {
        let taken = if key == 6 { 2 } else { 4 };
        assert_eq!((0..taken).filter(|_| take(&mut record, key, terms, SECOND, WAYS)).count(), taken);
    }
    assert_eq!(drain(&mut record, 77, terms, SECOND), 3, "what the sixth had left");
    assert_eq!(drain(&mut record, 1, terms, SECOND), 1, "the others have what they had");
}

#[test]
fn going_round_many_keys_does_not_fill_any_of_them() {
    let terms = terms("1/h", 5, 1, 0);
    let mut record = Vec::new();
    let passed = (0..10_000_u64).filter(|turn| take(&mut record, 1 + turn % 20, terms, SECOND, WAYS)).count();
    assert_eq!(passed, 5 * WAYS, "what eight places hold");
}

proptest! {
    /// Whatever keys come in whatever order to one set, none of them gets more than its own bucket would have given it.
    #[test]
    fn no_key_of_a_crowded_set_exceeds_its_limit(
        burst in 1..6_u32,
        steps in prop::collection::vec((1..14_u64, 0..400_u64), 1..400),
    ) {
        let terms = terms("10/s", burst, 1, 0);
        let mut record = Vec::new();
        let mut now = SECOND;
        let mut admitted: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (key, gap) in steps {
            now += gap * MS;
            if take(&mut record, key, terms, now, WAYS) {
                admitted.entry(key).or_default().push(now);
            }
        }
        for (key, times) in admitted {
            for (first, from) in times.iter().enumerate() {
                for (last, to) in times.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as u64;
                    // `count <= burst + rate * time`, without division.
                    prop_assert!(
                        (count.saturating_sub(u64::from(burst))) * SECOND <= 10 * (to - from),
                        "key {key} passed {count} times from {from} to {to}"
                    );
                }
            }
        }
    }
}
