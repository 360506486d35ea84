//! A network between Envoy and the control plane that stalls, drips, resets and closes halves.

use anyhow::{Result, ensure};
use spillway_tests::chaos::{Chaos, Pace};
use spillway_tests::load::Running;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::stage::{Proxied, Services, Stage, Variant};

/// Memory that the control plane may have gained by the end: buffers of some connections, and what an allocator keeps.
const MEMORY: u64 = 64 << 20;

/// The Envoy under load behind a bad network.
struct Behind<'a> {
    stage: &'a Stage,
    chaos: &'a Chaos,
    envoy: &'a Proxied,
    load: Running,
    edits: usize,
    /// Whether an edit replaces the Backend, or only moves the weight.
    replaces: bool,
}

impl Behind<'_> {
    /// Makes an edit and waits until it is in force.
    fn follow(&mut self) -> Result<()> {
        let upstream = self.edit()?;
        self.envoy.serves(upstream)
    }

    /// Makes an edit and gives who will answer.
    fn edit(&mut self) -> Result<&'static str> {
        self.edits += 1;
        let upstream = if self.edits % 2 == 1 { "beta" } else { "alpha" };
        if self.replaces {
            self.stage.send_to(&format!("{upstream}-{}", self.edits), upstream)?;
        } else {
            self.stage.shift_to(upstream)?;
        }
        Ok(upstream)
    }

    /// Does something to the network that makes Envoy connect anew, and waits until it follows again.
    fn broken(&mut self, breaking: impl FnOnce(&Chaos)) -> Result<()> {
        let before = self.chaos.connections();
        breaking(self.chaos);
        wait::until("a new connection", || {
            ensure!(self.chaos.connections() > before, "Envoy has not come back");
            Ok(())
        })?;
        self.follow()
    }

    /// Some requests, during which nothing may change.
    fn meanwhile(&mut self) -> Result<()> {
        let from = self.load.answers();
        wait::until("requests meanwhile", || {
            self.load.going_on()?;
            ensure!(self.load.answers() >= from + 200, "too few");
            Ok(())
        })
    }
}

fn survives(kind: (Variant, Services)) -> Result<()> {
    Scene::play(|scene| {
        let mut stage = Stage::start(scene, &["edge"])?;
        let chaos = Chaos::start(stage.control_plane.xds())?;
        let envoy = stage.envoy("one", "edge", kind, Some(chaos.address()))?;
        let before = stage.control_plane.process()?.memory()?;
        let load = envoy.load().start(&stage.client)?;
        let mut behind =
            Behind { stage: &stage, chaos: &chaos, envoy: &envoy, load, edits: 0, replaces: true };

        behind.chaos.carry(Pace::ByteByByte);
        behind.follow()?;
        behind.chaos.carry(Pace::Free);

        // An edit that is stuck arrives when the network comes back, and only the newest one does.
        behind.chaos.carry(Pace::Stalled);
        for _ in 0..3 {
            behind.edit()?;
            behind.meanwhile()?;
        }
        behind.chaos.carry(Pace::Free);
        behind.follow()?;

        // A broken stream leaves clusters half made, and the new one asks for listeners and routes before it asks for clusters. Whoever asks
        // for the state of the world does not say which clusters it has, so none can be kept for its old routes: over a break, only what
        // needs no other cluster is promised to it. Both Backends stay, and the weight moves.
        if kind.0 == Variant::State {
            behind.replaces = false;
            behind.follow()?;
            wait::until("both Backends", || {
                ensure!(envoy.has_cluster("alpha")? && envoy.has_cluster("beta")?, "one is missing");
                Ok(())
            })?;
        }
        for _ in 0..3 {
            behind.broken(Chaos::reset)?;
            behind.broken(Chaos::cut_answers)?;
            behind.broken(Chaos::cut_requests)?;
        }
        // Broken off in the middle of an edit.
        for _ in 0..3 {
            behind.chaos.carry(Pace::ByteByByte);
            behind.edit()?;
            behind.broken(|chaos| {
                chaos.carry(Pace::Free);
                chaos.reset();
            })?;
        }
        let report = behind.load.finish()?;
        assert_eq!(report.other_than(&[200]), [].into());
        let after = stage.control_plane.process()?.memory()?;
        ensure!(after < before + MEMORY, "the control plane went from {before} to {after} bytes");
        Ok(())
    })
}

#[test]
fn a_bad_network_costs_no_request_and_no_edit() -> Result<()> {
    survives((Variant::Delta, Services::Aggregated))
}

#[test]
fn a_bad_network_costs_no_request_and_no_edit_where_the_state_of_the_world_is_asked_for() -> Result<()> {
    survives((Variant::State, Services::Aggregated))
}
