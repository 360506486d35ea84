use crate::circuit_breaker::{Breaker, Check, Count, Verdict};
use crate::engine::Needs;
use crate::store::StoreError;
use crate::table::{Access, Slot};
use crate::testing::{SECOND, Shared};

/// A worker with its own copy of a rule whose keys are all in one record.
struct Worker {
    breaker: Breaker,
    record: u16,
    bytes: Vec<u8>,
}

impl Worker {
    fn new() -> Self {
        let rule = r#"{"name": "b", "key": ["backend"], "window": "10s", "minRequests": 1, "trip": {"errorRatio": "50%"}, "openFor": "1s", "probes": 1}"#;
        let rule = serde_json::from_str(rule).unwrap();
        Self { breaker: Breaker::new("p".into(), rule, &mut Needs::default()), record: 7, bytes: Vec::new() }
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
        let slot = Slot { record: self.record, fingerprint: key };
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

    /// Of one worker after its tick.
    fn census(&mut self, store: &mut Shared, now: u64) -> Option<Count> {
        self.tell(store, now)?;
        self.count(store, now)
    }

    fn tell(&mut self, store: &mut Shared, now: u64) -> Option<()> {
        self.with(store, now, |breaker, access| breaker.settle(true, access))
    }

    fn count(&mut self, store: &mut Shared, now: u64) -> Option<Count> {
        self.with(store, now, |breaker, access| breaker.census(&mut 9_999, access)).flatten()
    }
}

const fn open(open: u32) -> Count {
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
fn a_mark_that_could_not_be_set_is_set_later() {
    let (mut store, mut worker, mut other) = (Shared::default(), Worker::new(), Worker::new());
    assert!(worker.request(1, true, &mut store, SECOND));
    store.fail(0, 1);
    assert_eq!(worker.tell(&mut store, SECOND), None);
    assert_eq!(other.census(&mut store, SECOND), Some(open(0)), "nobody has told");
    store.conflicts.set(2);
    assert_eq!(worker.tell(&mut store, SECOND), Some(()));
    assert_eq!(other.census(&mut store, SECOND), Some(open(1)));
    let asked = store.operations.get();
    assert_eq!(worker.tell(&mut store, SECOND), Some(()));
    assert_eq!(store.operations.get(), asked, "there is no more to tell");
    // The end is seen by everybody, and the mark is taken away.
    assert!(other.request(1, false, &mut store, 3 * SECOND));
    assert_eq!([&mut worker, &mut other].map(|one| one.count(&mut store, 3 * SECOND)), [Some(open(0)); 2]);
    let asked = store.operations.get();
    other.count(&mut store, 3 * SECOND);
    assert_eq!(store.operations.get() - asked, 5, "the marks, and four records in turn");
}

#[test]
fn a_mark_that_is_set_while_it_is_taken_away_stays() {
    let (mut store, mut worker, mut other) = (Shared::default(), Worker::new(), Worker::new());
    for _ in 0..255 {
        other.count(&mut store, SECOND);
    }
    assert!(worker.request(1, true, &mut store, SECOND));
    worker.tell(&mut store, SECOND);
    assert!(worker.request(1, false, &mut store, 3 * SECOND), "a probe closes it");
    // The other one has read that, and is not at the end, when it opens again.
    let reads = |mut reads: usize| {
        move |breaker: &mut Breaker, access: &mut Access<'_, Shared>| breaker.census(&mut reads, access)
    };
    assert_eq!(other.with(&mut store, 3 * SECOND, reads(2)), Some(None));
    assert!(worker.request(1, true, &mut store, 4 * SECOND));
    worker.tell(&mut store, 4 * SECOND);
    assert_eq!(other.with(&mut store, 4 * SECOND, reads(9)), Some(Some(open(0))));
    assert_eq!(other.count(&mut store, 4 * SECOND), Some(open(1)));
}

/// What is in the records of three workers that come and go, and what the census of a worker says a while later.
fn lived(seed: u64) -> (Option<Count>, Option<Count>) {
    let mut store = Shared::default();
    let mut workers = [Worker::new(), Worker::new(), Worker::new()];
    let mut random = seed;
    for step in 0..200_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [who, key, failed, fate, ..] = (random >> 32).to_le_bytes();
        let (worker, now) = (&mut workers[usize::from(who % 3)], step * SECOND / 5);
        worker.request(u64::from(key % 2) + 1, failed % 2 == 0, &mut store, now);
        match fate {
            0..40 => *worker = Worker::new(),
            40..80 => assert!(worker.tell(&mut store, now).is_some()),
            80..160 => assert!(worker.count(&mut store, now).is_some()),
            _ => {}
        }
    }
    let now = 200 * SECOND / 5;
    let mut worker = Worker::new();
    let found = worker.with(&mut store, now, |breaker, access| {
        breaker.table.read(Slot { record: 7, fingerprint: 1 }, access)?;
        let cells = super::super::decode(access.bytes, super::super::WAYS).ok_or(StoreError)?;
        Ok(Count::of(&cells))
    });
    for _ in 0..256 {
        worker.count(&mut store, now);
    }
    (found, Worker::new().count(&mut store, now))
}

#[test]
fn the_census_is_what_is_in_the_records_whoever_is_lost() {
    let lives: Vec<_> = (1..=40).map(lived).collect();
    assert!(lives.iter().all(|(found, counted)| found == counted), "{lives:?}");
    assert!(lives.iter().any(|(found, _)| *found == Some(open(2))));
}

#[test]
fn thousands_of_open_breakers_are_counted_bit_by_bit() {
    let (mut store, mut worker) = (Shared::default(), Worker::new());
    for record in 0..1_000 {
        worker.record = record;
        assert!(worker.request(1, true, &mut store, SECOND));
    }
    worker.tell(&mut store, SECOND);
    let mut calls = 0;
    let count = loop {
        calls += 1;
        let before = store.operations.get();
        let count = worker.with(&mut store, SECOND, |breaker, access| breaker.census(&mut 64, access));
        assert!(store.operations.get() - before <= 64);
        if let Some(count) = count.unwrap() {
            break count;
        }
    };
    assert_eq!((count, calls), (open(1_000), 16));
}
