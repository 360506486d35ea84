//! A concurrency limit that finds itself: it falls when the upstream slows down, and rises when that recovers.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use spillway_tests::load::Load;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::by_hand;
use crate::text::{care, document, site};
use crate::world::World;

/// What one request takes once its turn has come: far more than a busy machine adds to it.
const SERVICE: Duration = Duration::from_millis(80);

/// An upstream that serves so many at once; the others wait for their turn.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    free: Condvar,
}

#[derive(Default)]
struct State {
    capacity: usize,
    served: usize,
    /// Served or waiting.
    held: usize,
    most_held: usize,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, capacity: usize) {
        self.state().capacity = capacity;
        self.free.notify_all();
    }

    fn serve(&self) -> String {
        let mut state = self.state();
        state.held += 1;
        state.most_held = state.most_held.max(state.held);
        let is_full = |state: &mut State| state.served >= state.capacity;
        let mut state = self.free.wait_while(state, is_full).unwrap_or_else(PoisonError::into_inner);
        state.served += 1;
        drop(state);
        thread::sleep(SERVICE);
        let mut state = self.state();
        state.served -= 1;
        state.held -= 1;
        drop(state);
        self.free.notify_one();
        "200 OK\r\ncontent-length: 0\r\n\r\n".into()
    }

    /// The most that it had to do at once in the next half of a second; never nothing.
    fn most_held(&self) -> Result<usize> {
        let mut state = self.state();
        state.most_held = state.held;
        drop(state);
        thread::sleep(Duration::from_millis(500));
        let most = self.state().most_held;
        ensure!(most > 0, "nobody was let through");
        Ok(most)
    }
}

#[test]
fn an_adaptive_limit_falls_when_the_upstream_slows_and_rises_when_it_recovers() -> Result<()> {
    /// How many the upstream serves at once when it is well, and when it is not.
    const WELL: usize = 20;
    const ILL: usize = 3;
    Scene::play(|scene| {
        let desk = Arc::new(Desk::default());
        desk.has(WELL);
        let port = by_hand::upstream({
            let desk = Arc::clone(&desk);
            move |_| desk.serve()
        })?;
        let backend =
            document("Backend", "desk", &format!("endpoints: [{{address: 127.0.0.1, port: {port}}}]"));
        let route = site("- {name: all, backendRefs: [{name: desk}]}");
        let policy = care("concurrency: [{name: auto, adaptive: {min: 3, max: 200}}]");
        let files = [("desk.yaml", &*backend), ("routes.yaml", &route), ("policy.yaml", &policy)];
        let world = World::start(scene, &files)?;
        let load =
            Load::get(world.url("/")).concurrency(50).pause(Duration::from_millis(60)).requests(1_000_000);
        let mut load = load.start(&world.client)?;
        let mut reaches = |what: &str, is_reached: &dyn Fn(usize) -> bool| {
            wait::until(what, || {
                load.going_on()?;
                let most = desk.most_held()?;
                ensure!(is_reached(most), "{most} at once");
                Ok(())
            })
        };
        // It begins with three, and whoever begins with that many is not kept there.
        reaches("a limit that uses what there is", &|most| most >= WELL)?;
        desk.has(ILL);
        reaches("a limit that has followed the upstream down", &|most| most <= WELL / 2)?;
        desk.has(WELL);
        reaches("a limit that has followed the upstream up", &|most| most >= WELL)?;
        let report = load.finish()?;
        assert_eq!(report.other_than(&[200, 503]), [].into());
        Ok(())
    })
}
