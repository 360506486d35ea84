//! A deterministic scheduler: workers run one at a time, and which of them performs the next store operation is decided by a given
//! schedule, not by luck. The same schedule gives the same run.

use std::sync::{Arc, Condvar, Mutex};

use crate::store::{CasError, Memory, Store, StoreError, Version};

/// One worker's view of the store: each operation waits for its turn.
pub(crate) struct Scheduled {
    worker: usize,
    turns: Arc<Turns>,
}

struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    memory: Memory,
    schedule: Vec<u8>,
    position: usize,
    /// Workers at an operation, in order of their numbers.
    waiting: Vec<usize>,
    running: usize,
    turn: Option<usize>,
}

impl State {
    /// Gives the turn to somebody when everybody waits.
    fn choose(&mut self) {
        if self.running > 0 || self.waiting.is_empty() || self.turn.is_some() {
            return;
        }
        let choice = self.schedule.get(self.position % self.schedule.len().max(1)).copied().unwrap_or(0);
        self.position += 1;
        self.turn = Some(self.waiting[usize::from(choice) % self.waiting.len()]);
    }
}

impl Scheduled {
    fn operate<T>(&mut self, operation: impl FnOnce(&mut Memory) -> T) -> T {
        let mut state = self.turns.state.lock().unwrap();
        state.running -= 1;
        let place = state.waiting.partition_point(|worker| *worker < self.worker);
        state.waiting.insert(place, self.worker);
        state.choose();
        self.turns.changed.notify_all();
        while state.turn != Some(self.worker) {
            state = self.turns.changed.wait(state).unwrap();
        }
        state.turn = None;
        state.waiting.retain(|worker| *worker != self.worker);
        state.running += 1;
        operation(&mut state.memory)
    }
}

impl Drop for Scheduled {
    fn drop(&mut self) {
        // Also when the worker panics; the others then go on and the panic is reported by `interleave`.
        if let Ok(mut state) = self.turns.state.lock() {
            state.running -= 1;
            state.choose();
            self.turns.changed.notify_all();
        }
    }
}

impl Store for Scheduled {
    fn read(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Version>, StoreError> {
        self.operate(|memory| memory.read(key, value))
    }

    fn compare_and_set(
        &mut self,
        key: &[u8],
        value: &[u8],
        expected: Option<Version>,
    ) -> Result<(), CasError> {
        self.operate(|memory| memory.compare_and_set(key, value, expected))
    }

    fn entropy(&mut self) -> u128 {
        7
    }
}

/// Runs `workers` at once on one store, which is given back with what they returned.
pub(crate) fn interleave<T: Send>(
    memory: Memory,
    schedule: &[u8],
    workers: usize,
    work: impl Fn(usize, &mut Scheduled) -> T + Sync,
) -> (Vec<T>, Memory) {
    let state = State {
        memory,
        schedule: schedule.to_vec(),
        position: 0,
        waiting: Vec::new(),
        running: workers,
        turn: None,
    };
    let turns = Arc::new(Turns { state: Mutex::new(state), changed: Condvar::new() });
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                let mut store = Scheduled { worker, turns: Arc::clone(&turns) };
                let work = &work;
                scope.spawn(move || work(worker, &mut store))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let memory = turns.state.lock().unwrap().memory.clone();
    (results, memory)
}

#[test]
fn a_schedule_gives_the_same_run_each_time() {
    let run = |schedule: &[u8]| {
        let increment = |worker: usize, store: &mut Scheduled| {
            let mut conflicts = 0;
            for _ in 0..5 {
                loop {
                    let mut value = Vec::new();
                    let version = store.read(b"n", &mut value).unwrap();
                    value.push(u8::try_from(worker).unwrap());
                    match store.compare_and_set(b"n", &value, version) {
                        Ok(()) => break,
                        Err(_) => conflicts += 1,
                    }
                }
            }
            conflicts
        };
        let (conflicts, mut memory) = interleave(Memory::default(), schedule, 3, increment);
        let mut order = Vec::new();
        memory.read(b"n", &mut order).unwrap();
        (conflicts, order)
    };
    let first = run(&[2, 1, 0, 0, 1]);
    assert_eq!(first.1.len(), 15, "no increment is lost");
    assert!(first.0.iter().sum::<i32>() > 0, "they do get in each other's way");
    assert_eq!(run(&[2, 1, 0, 0, 1]), first);
    assert_ne!(run(&[0]).1, run(&[2]).1);
}
