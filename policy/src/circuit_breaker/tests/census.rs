use std::collections::BTreeMap;

use crate::circuit_breaker::{Breaker, Check, Count, Verdict};
use crate::engine::Needs;
use crate::store::StoreError;
use crate::table::{Access, Slot};
use crate::testing::{SECOND, Shared};

/// A worker with its own copy of a rule whose keys are all in one record.
struct Worker {
    breaker: Breaker,
    bytes: Vec<u8>,
}

impl Worker {
    fn new() -> Self {
        let rule = r#"{"name": "b", "key": ["backend"], "window": "10s", "minRequests": 1, "trip": {"errorRatio": "50%"}, "openFor": "1s", "probes": 1}"#;
        let rule = serde_json::from_str(rule).unwrap();
        Self { breaker: Breaker::new("p".into(), rule, &mut Needs::default()), bytes: Vec::new() }
    }

    fn with<T>(
        &mut self,
        store: &mut Shared,
        now: u64,
        work: impl FnOnce(&mut Breaker, &mut Access<'_, Shared>) -> Result<T, StoreError>,
    ) -> Option<T> {
        let transitions = &mut Vec::new();
        let access = &mut Access { store, bytes: &mut self.bytes, transitions, now, since: 0 };
        work(&mut self.breaker, access).ok()
    }

    /// A request of a key; whether it passed.
    fn request(&mut self, key: u64, failed: bool, store: &mut Shared, now: u64) -> bool {
        let slot = Slot { record: 7, fingerprint: key };
        let passed = self.with(store, now, |breaker, access| {
            let check = match breaker.check(slot, access)? {
                Check::Probe(slot) => breaker.probe(slot, access)?,
                check => check,
            };
            let Check::Pass(watch) = check else { return Ok(false) };
            if let Some(watch) = watch {
                breaker.complete(watch, Some(Verdict { failed, slow: false }), access)?;
            }
            Ok(true)
        });
        passed == Some(true)
    }

    fn census(&mut self, store: &mut Shared, now: u64) -> Option<Count> {
        self.with(store, now, Breaker::census)
    }
}

const fn open(open: i32) -> Count {
    Count { open, half_open: 0 }
}

#[test]
fn an_open_breaker_that_makes_way_is_counted_no_more() {
    let (mut store, mut worker) = (Shared::default(), Worker::new());
    for key in 1..=4 {
        assert!(worker.request(key, true, &mut store, SECOND));
        assert!(!worker.request(key, true, &mut store, SECOND), "{key} is open");
    }
    assert_eq!(worker.census(&mut store, SECOND), Some(open(4)));
    assert!(worker.request(5, true, &mut store, 2 * SECOND), "there is no place for it");
    assert_eq!(worker.census(&mut store, 2 * SECOND), Some(open(4)));
    assert!(worker.request(5, false, &mut store, 99 * SECOND), "nobody has asked for the others for long");
    assert_eq!(worker.census(&mut store, 99 * SECOND), Some(open(3)));
}

#[test]
fn a_change_that_could_not_be_told_is_told_later_and_once() {
    let (mut store, mut worker, mut other) = (Shared::default(), Worker::new(), Worker::new());
    assert!(worker.request(1, true, &mut store, SECOND));
    store.fail(0, 1);
    assert_eq!(worker.census(&mut store, SECOND), None);
    assert!(worker.breaker.has_news());
    // Another worker notices the end before the beginning is told.
    assert!(other.request(1, false, &mut store, 3 * SECOND));
    assert_eq!(other.census(&mut store, 3 * SECOND), Some(open(-1)));
    store.conflicts.set(2);
    assert_eq!(worker.census(&mut store, 3 * SECOND), Some(open(0)));
    assert_eq!(worker.census(&mut store, 3 * SECOND), Some(open(0)));
    assert!(!worker.breaker.has_news());
}

#[test]
fn the_census_is_what_a_count_of_all_breakers_would_find() {
    let mut store = Shared::default();
    let mut workers = [Worker::new(), Worker::new(), Worker::new()];
    let mut random = 1_u64;
    for step in 0..4_000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [who, key, failed, ..] = (random >> 32).to_le_bytes();
        let worker = &mut workers[usize::from(who % 3)];
        worker.request(u64::from(key % 6) + 1, failed % 2 == 0, &mut store, step * SECOND / 5);
    }
    let now = 4_000 * SECOND / 5;
    for worker in &mut workers {
        worker.with(&mut store, now, |breaker, access| breaker.flush_pending(true, access)).unwrap();
    }
    let counts: BTreeMap<usize, _> =
        (0..3).chain(0..3).map(|who| (who, workers[who].census(&mut store, now))).collect();
    let found = workers[0].with(&mut store, now, |breaker, access| {
        breaker.table.read(Slot { record: 7, fingerprint: 1 }, access)?;
        let cells = super::super::decode(access.bytes, super::super::WAYS).ok_or(StoreError)?;
        Ok(Count::of(&cells))
    });
    assert!(found.is_some_and(|count| count.open + count.half_open > 0), "{found:?}");
    assert!(counts.values().all(|count| *count == found), "{counts:?}, not {found:?}");
}
