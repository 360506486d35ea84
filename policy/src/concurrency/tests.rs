use proptest::prelude::*;

use super::*;
use crate::engine::Needs;
use crate::table::ONLY;
use crate::testing::{MS, SECOND, Shared};

/// A worker: its VM and its own copy of the rule.
struct Worker {
    presence: Presence,
    bulkhead: Bulkhead,
    bytes: Vec<u8>,
}

impl Worker {
    fn fixed(max: u32, keyed: bool) -> Self {
        Self::new(&format!(r#""max": {max}"#), keyed)
    }

    fn adaptive(min: u32, max: u32) -> Self {
        Self::new(&format!(r#""adaptive": {{"min": {min}, "max": {max}}}"#), true)
    }

    fn new(limit: &str, keyed: bool) -> Self {
        let key = if keyed { r#""key": ["backend"],"# } else { "" };
        let rule = serde_json::from_str(&format!(r#"{{"name": "r", {key} {limit}}}"#)).unwrap();
        let bulkhead = Bulkhead::new("p".into(), rule, None, &mut Needs::default());
        Self { presence: Presence::default(), bulkhead, bytes: Vec::new() }
    }

    fn with<T>(
        &mut self,
        store: &mut Shared,
        now: u64,
        work: impl FnOnce(&mut Bulkhead, &mut Presence, &mut Access<'_, Shared>) -> T,
    ) -> T {
        let Self { presence, bulkhead, bytes } = self;
        work(bulkhead, presence, &mut Access { store, bytes, transitions: &mut Vec::new(), now, since: 0 })
    }

    fn enter(&mut self, slot: Slot, store: &mut Shared, now: u64) -> Option<Hold> {
        self.with(store, now, |bulkhead, presence, access| {
            let room = bulkhead.look(slot, presence, access).unwrap().ok()?;
            bulkhead.take(room, presence, access).unwrap().ok()
        })
    }

    fn leave(&mut self, hold: Hold, latency: Option<u64>, store: &mut Shared, now: u64) -> bool {
        self.with(store, now, |bulkhead, presence, access| {
            bulkhead.release(hold, latency, presence, access).is_ok()
        })
    }

    fn tick(&mut self, store: &mut Shared, now: u64) {
        self.presence.tick(store, now).unwrap();
        self.with(store, now, |bulkhead, presence, access| bulkhead.settle(false, presence, access).unwrap());
    }
}

fn key(number: u64) -> Slot {
    Slot { record: u16::try_from(number % 3).unwrap(), fingerprint: number + 1 }
}

#[test]
fn as_many_as_the_limit_pass_over_all_workers() {
    let mut store = Shared::default();
    let mut workers = [0; 3].map(|_| Worker::fixed(5, false));
    let mut holds = Vec::new();
    for index in 0..12 {
        let worker = index % 3;
        holds.extend(workers[worker].enter(ONLY, &mut store, 0).map(|hold| (worker, hold)));
    }
    assert_eq!(holds.len(), 5);
    let (worker, hold) = holds.pop().unwrap();
    assert!(workers[worker].leave(hold, None, &mut store, 1));
    assert!(workers[0].enter(ONLY, &mut store, 2).is_some());
    assert!(workers[1].enter(ONLY, &mut store, 2).is_none());
}

#[test]
fn a_look_takes_nothing() {
    let mut store = Shared::default();
    let mut worker = Worker::fixed(1, false);
    for _ in 0..5 {
        let room = worker.with(&mut store, 0, |bulkhead, presence, access| {
            bulkhead.look(ONLY, presence, access).unwrap().unwrap()
        });
        assert_eq!((room.count, room.share()), (1, 10_000));
    }
    assert!(worker.enter(ONLY, &mut store, 0).is_some());
}

#[test]
fn of_two_workers_that_see_the_last_room_one_gets_it() {
    let mut store = Shared::default();
    let (mut one, mut two) = (Worker::fixed(1, false), Worker::fixed(1, false));
    let look = |worker: &mut Worker, store: &mut Shared| {
        worker.with(store, 0, |bulkhead, presence, access| {
            bulkhead.look(ONLY, presence, access).unwrap().unwrap()
        })
    };
    let rooms = (look(&mut one, &mut store), look(&mut two, &mut store));
    let take = |worker: &mut Worker, room, store: &mut Shared| {
        worker.with(store, 0, |bulkhead, presence, access| bulkhead.take(room, presence, access).unwrap())
    };
    assert!(take(&mut one, rooms.0, &mut store).is_ok());
    assert_eq!(take(&mut two, rooms.1, &mut store), Err(Full));
}

#[test]
fn keys_do_not_see_each_other() {
    let mut store = Shared::default();
    let mut worker = Worker::fixed(1, true);
    let holds: Vec<_> = (0..9).filter_map(|number| worker.enter(key(number), &mut store, 0)).collect();
    assert_eq!(holds.len(), 9, "three records, three keys in each");
    assert!((0..9).all(|number| worker.enter(key(number), &mut store, 0).is_none()));
    for hold in holds {
        assert!(worker.leave(hold, None, &mut store, 0));
    }
    assert!((0..9).all(|number| worker.enter(key(number), &mut store, 0).is_some()));
}

#[test]
fn what_a_dead_vm_had_in_flight_is_free_again_when_its_heartbeat_has_stopped() {
    let mut store = Shared::default();
    let (mut one, mut dead) = (Worker::fixed(2, false), Worker::fixed(2, false));
    let lost = dead.enter(ONLY, &mut store, 0).unwrap();
    dead.enter(ONLY, &mut store, 0).unwrap();
    assert!(one.enter(ONLY, &mut store, 0).is_none());
    let mut now = 0;
    while now < 5 * SECOND {
        one.tick(&mut store, now);
        assert!(one.enter(ONLY, &mut store, now).is_none(), "{now}");
        now += 50 * MS;
    }
    for _ in 0..20 {
        one.tick(&mut store, now);
        now += 50 * MS;
    }
    let hold = one.enter(ONLY, &mut store, now).unwrap();
    assert!(one.enter(ONLY, &mut store, now).is_some());
    assert!(one.enter(ONLY, &mut store, now).is_none());
    // It was not dead after all: what it had is not counted a second time.
    dead.leave(lost, None, &mut store, now);
    assert!(one.enter(ONLY, &mut store, now).is_none());
    assert!(one.leave(hold, None, &mut store, now));
    assert!(one.enter(ONLY, &mut store, now).is_some());
}

#[test]
fn an_end_that_the_store_did_not_hear_is_told_later() {
    let mut store = Shared::default();
    let mut worker = Worker::fixed(1, false);
    let hold = worker.enter(ONLY, &mut store, 0).unwrap();
    store.failures.set(1);
    assert!(!worker.leave(hold, None, &mut store, 0));
    assert!(worker.enter(ONLY, &mut store, 0).is_none());
    worker.tick(&mut store, 1);
    assert!(worker.enter(ONLY, &mut store, 1).is_some());
}

#[test]
fn records_stay_small_and_a_full_one_is_an_error_not_an_eviction() {
    let mut store = Shared::default();
    let mut worker = Worker::fixed(1, true);
    let slot = |fingerprint| Slot { record: 0, fingerprint };
    let mut held = 0;
    for fingerprint in 1..200 {
        let taken = worker.with(&mut store, 0, |bulkhead, presence, access| {
            let room = bulkhead.look(slot(fingerprint), presence, access).unwrap().unwrap();
            bulkhead.take(room, presence, access).is_ok()
        });
        held += u64::from(taken);
    }
    assert_eq!(held, 64);
    assert!((1..=held).all(|fingerprint| worker.enter(slot(fingerprint), &mut store, 0).is_none()));
}

#[test]
fn an_adaptive_limit_grows_while_the_upstream_keeps_up() {
    let mut store = Shared::default();
    let mut worker = Worker::adaptive(2, 20);
    let mut now = 0;
    let mut most = 0;
    for _ in 0..2_000 {
        now += 5 * MS;
        let holds: Vec<_> = std::iter::from_fn(|| worker.enter(key(4), &mut store, now)).collect();
        most = most.max(holds.len());
        assert!((1..=20).contains(&holds.len()));
        for hold in holds {
            assert!(worker.leave(hold, Some(MS), &mut store, now + MS));
        }
    }
    assert_eq!(most, 20);
}

#[test]
fn a_worker_asks_for_an_adaptive_limit_every_five_milliseconds() {
    let (mut store, mut worker) = (Shared::default(), Worker::adaptive(100, 1_000));
    let first = worker.enter(key(4), &mut store, 0).unwrap();
    assert!(worker.leave(first, None, &mut store, 0));
    let asked = store.operations.get();
    for _ in 0..50 {
        let hold = worker.enter(key(4), &mut store, 5 * MS - 1).unwrap();
        assert!(worker.leave(hold, Some(MS), &mut store, 5 * MS - 1));
    }
    assert_eq!(store.operations.get(), asked, "it knows the limit, and keeps a place");
    assert!(worker.enter(key(4), &mut store, 5 * MS).is_some());
    assert!(store.operations.get() > asked);
}

#[test]
fn what_was_measured_is_told_when_it_is_due() {
    let (mut store, mut worker) = (Shared::default(), Worker::adaptive(2, 20));
    let mut operations = |all: bool, measures: bool, now: u64| {
        let before = store.operations.get();
        worker.with(&mut store, now, |bulkhead, presence, access| {
            let Limit::Adaptive(found) = &mut bulkhead.limit else { panic!("adaptive") };
            if measures {
                found.measure(key(4), Sample { count: 1, sum: MS, peak: 1 }, access).unwrap();
            }
            bulkhead.settle(all, presence, access).unwrap();
        });
        store.operations.get() - before
    };
    assert_eq!(operations(false, true, SECOND), 2, "nothing was known");
    assert_eq!(operations(false, true, SECOND + 4 * MS), 0);
    assert_eq!(operations(false, false, SECOND + 5 * MS), 2, "read and written");
    assert_eq!(operations(false, false, SECOND + 50 * MS), 0, "there is nothing to tell");
    assert_eq!(operations(false, true, SECOND + 51 * MS), 2);
    assert_eq!(operations(true, true, SECOND + 52 * MS), 2, "all of it");
}

#[test]
fn limits_that_were_found_are_kept_in_as_many_records_as_there_are() {
    let (mut store, mut worker) = (Shared::default(), Worker::adaptive(2, 20));
    for record in 0..3_000 {
        let slot = Slot { record, fingerprint: 1 + u64::from(record) };
        assert!(worker.enter(slot, &mut store, 0).is_some());
    }
    assert_eq!(store.memory.borrow().len(), 3_000 + 1_024 + 1, "in flight, found, and the VMs");
}

/// What the store counts for a slot, free places of workers included.
fn counted(slot: Slot, store: &mut Shared) -> u32 {
    let mut reader = Worker::fixed(1, slot != ONLY);
    reader.with(store, 0, |bulkhead, presence, access| bulkhead.read(slot, presence, access).unwrap())
}

#[test]
fn a_worker_keeps_its_places_and_asks_the_store_only_at_its_peaks() {
    let mut store = Shared::default();
    let mut other = Worker::fixed(1_000, false);
    assert!(other.enter(ONLY, &mut store, 0).is_some());
    let mut worker = Worker::fixed(1_000, false);
    let holds: Vec<_> = (0..20).filter_map(|_| worker.enter(ONLY, &mut store, 0)).collect();
    let asked = store.operations.get();
    for hold in holds {
        assert!(worker.leave(hold, None, &mut store, 0));
    }
    for _ in 0..1_000 {
        let holds: Vec<_> = (0..20).filter_map(|_| worker.enter(ONLY, &mut store, 0)).collect();
        assert_eq!(holds.len(), 20);
        assert!(holds.into_iter().all(|hold| worker.leave(hold, None, &mut store, 0)));
    }
    assert_eq!(store.operations.get(), asked);
    assert_eq!(counted(ONLY, &mut store), 1 + 20);
    worker.tick(&mut store, 50 * MS);
    assert_eq!(counted(ONLY, &mut store), 1 + 20, "they were needed");
    worker.tick(&mut store, 100 * MS);
    assert_eq!(counted(ONLY, &mut store), 1, "nobody needed them for a whole tick");
}

#[test]
fn no_key_s_kept_places_are_forgotten_for_another_s() {
    let (mut store, mut worker) = (Shared::default(), Worker::fixed(1_000, true));
    let keys = [1, 1 + 1_024].map(|fingerprint| Slot { record: 1, fingerprint });
    for slot in keys {
        let hold = worker.enter(slot, &mut store, 0).unwrap();
        assert!(worker.leave(hold, None, &mut store, 0));
    }
    assert_eq!(counted(keys[0], &mut store), 1, "kept");
    worker.tick(&mut store, 50 * MS);
    worker.tick(&mut store, 100 * MS);
    assert_eq!(keys.map(|slot| counted(slot, &mut store)), [0, 0]);
}

#[test]
fn nothing_is_kept_of_a_room_that_is_full() {
    let (mut store, mut worker) = (Shared::default(), Worker::fixed(16, false));
    let mut holds: Vec<_> = (0..16).filter_map(|_| worker.enter(ONLY, &mut store, 0)).collect();
    assert!(worker.leave(holds.pop().unwrap(), None, &mut store, 0));
    assert_eq!((holds.len(), counted(ONLY, &mut store)), (15, 15));
}

#[test]
fn what_a_worker_keeps_is_at_most_a_sixteenth_of_what_is_free() {
    let mut store = Shared::default();
    let (mut one, mut two) = (Worker::fixed(100, false), Worker::fixed(100, false));
    let holds: Vec<_> = (0..50).filter_map(|_| one.enter(ONLY, &mut store, 0)).collect();
    for hold in holds {
        assert!(one.leave(hold, None, &mut store, 0));
    }
    assert_eq!(counted(ONLY, &mut store), 6);
    let holds: Vec<_> = (0..200).filter_map(|_| two.enter(ONLY, &mut store, 0)).collect();
    assert_eq!(holds.len(), 94);
    // They are of use to the one that keeps them, and go back when there is no room.
    let last = one.enter(ONLY, &mut store, 0).unwrap();
    one.tick(&mut store, 50 * MS);
    assert_eq!(counted(ONLY, &mut store), 95);
    assert!((0..5).all(|_| two.enter(ONLY, &mut store, 0).is_some()));
    assert!(two.enter(ONLY, &mut store, 0).is_none());
    assert!(one.leave(last, None, &mut store, 0));
    assert!(two.enter(ONLY, &mut store, 0).is_some(), "nothing is kept where less than sixteen are free");
}

#[test]
fn a_retired_engine_keeps_nothing() {
    let mut store = Shared::default();
    let mut worker = Worker::fixed(1_000, true);
    let holds: Vec<_> = (0..9).filter_map(|_| worker.enter(key(1), &mut store, 0)).collect();
    let (kept, late) = holds.split_at(4);
    assert!(kept.iter().all(|hold| worker.leave(*hold, None, &mut store, 0)));
    worker.with(&mut store, 0, |bulkhead, presence, access| bulkhead.settle(true, presence, access)).unwrap();
    assert_eq!(counted(key(1), &mut store), 5);
    assert!(late.iter().all(|hold| worker.leave(*hold, None, &mut store, 0)));
    assert_eq!(counted(key(1), &mut store), 0);
}

proptest! {
    /// Any number of workers that come, go and tick: never more than the limit, nobody turned away while more is free than others may keep, and nothing left in the end.
    #[test]
    fn places_that_workers_keep_are_never_too_many_and_never_lost(
        limit in 1_u32..120,
        steps in proptest::collection::vec((0_usize..3, 0_u64..2, 0_u8..10, 1_usize..30, 0_u32..3), 1..80),
    ) {
        let mut store = Shared::default();
        let mut workers = [0; 3].map(|_| Worker::fixed(limit, true));
        let mut held: Vec<Vec<Hold>> = vec![Vec::new(); 6];
        let mut now = 0;
        for (worker, number, action, times, conflicts) in steps {
            store.conflicts.set(conflicts);
            let place = worker * 2 + usize::try_from(number).unwrap();
            for _ in 0..times {
                match action {
                    0..5 => {
                        let in_flight: usize = (0..3).map(|worker| held[worker * 2 + usize::try_from(number).unwrap()].len()).sum();
                        let hold = workers[worker].enter(key(number), &mut store, now);
                        if hold.is_some() {
                            prop_assert!(in_flight < limit as usize);
                        } else {
                            // Each of the two others kept a sixteenth of what it saw as free, at most.
                            prop_assert!(in_flight + 2 * limit as usize / 16 >= limit as usize, "{in_flight} of {limit}");
                        }
                        held[place].extend(hold);
                    }
                    5..9 => {
                        let Some(hold) = held[place].pop() else { break };
                        prop_assert!(workers[worker].leave(hold, None, &mut store, now));
                    }
                    _ => {
                        now += MS;
                        workers[worker].tick(&mut store, now);
                    }
                }
            }
        }
        store.conflicts.set(0);
        for (place, holds) in held.into_iter().enumerate() {
            for hold in holds {
                prop_assert!(workers[place / 2].leave(hold, None, &mut store, now));
            }
        }
        for worker in &mut workers {
            worker.tick(&mut store, now);
            worker.tick(&mut store, now);
        }
        prop_assert_eq!((counted(key(0), &mut store), counted(key(1), &mut store)), (0, 0));
    }

    #[test]
    fn in_flight_returns_to_zero_and_never_passes_the_limit(
        limit in 1_u32..6,
        steps in proptest::collection::vec((0_usize..3, 0_u64..4, any::<bool>(), any::<prop::sample::Index>(), 0_u32..3), 1..120),
    ) {
        let mut store = Shared::default();
        let mut workers = [0; 3].map(|_| Worker::fixed(limit, true));
        let mut holds: Vec<(usize, u64, Hold)> = Vec::new();
        for (worker, number, enters, which, conflicts) in steps {
            store.conflicts.set(conflicts);
            if enters {
                let before = holds.iter().filter(|(_, other, _)| *other == number).count();
                let hold = workers[worker].enter(key(number), &mut store, 0);
                prop_assert_eq!(hold.is_some(), before < limit as usize);
                holds.extend(hold.map(|hold| (worker, number, hold)));
            } else if !holds.is_empty() {
                let (worker, _, hold) = holds.swap_remove(which.index(holds.len()));
                workers[worker].leave(hold, None, &mut store, 0);
            }
        }
        for (worker, _, hold) in holds {
            workers[worker].leave(hold, None, &mut store, 0);
        }
        store.conflicts.set(0);
        for number in 0..4 {
            for _ in 0..limit {
                prop_assert!(workers[0].enter(key(number), &mut store, 0).is_some());
            }
        }
    }

    #[test]
    fn any_record_is_survived(record in proptest::collection::vec(any::<u8>(), 0..100), keyed in any::<bool>()) {
        prop_assert!(places(&record, keyed).count() <= record.len() / 7);
    }
}
