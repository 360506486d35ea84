//! An Envoy that follows edits while hundreds of clients of the same control plane behave badly.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::crowd::{self, Crowd};
use crate::stage::{Services, Stage, Variant};

/// Memory that the control plane may have in use at any time. It begins with some 10 MiB.
const MEMORY: u64 = 256 << 20;

/// Edits that have to arrive meanwhile, and the time between them.
const EDITS: usize = 12;
const BETWEEN: Duration = Duration::from_millis(250);

/// Runs an Envoy beside these clients. Each of the `acts` must have been done.
fn beside(acts: &[&str], gather: impl FnOnce(&mut Crowd)) -> Result<()> {
    Scene::play(|scene| {
        let mut stage = Stage::start(scene, &["edge"])?;
        let envoy = stage.envoy("one", "edge", (Variant::Delta, Services::Aggregated), None)?;
        let load = envoy.load().start(&stage.client)?;
        let mut crowd = Crowd::new(stage.control_plane.xds())?;
        gather(&mut crowd);
        let mut most = 0;
        for number in 0..EDITS {
            let upstream = if number % 2 == 0 { "beta" } else { "alpha" };
            stage.send_to(&format!("{upstream}-{number}"), upstream)?;
            envoy.serves(upstream)?;
            let memory = stage.control_plane.process()?.memory()?;
            ensure!(memory < MEMORY, "the control plane has {memory} bytes after {:?}", crowd.acts());
            most = most.max(memory);
            thread::sleep(BETWEEN);
        }
        wait::until("everything bad", || {
            let done = crowd.acts();
            let missing: Vec<_> = acts.iter().filter(|act| !done.contains_key(*act)).collect();
            ensure!(missing.is_empty(), "not yet done: {missing:?}; done: {done:?}");
            Ok(())
        })?;
        // What was refused is not offered for ever: per client, edit and kind of resource some times at most.
        let refused = crowd.acts().get("refused").copied().unwrap_or(0);
        ensure!(refused < 50 * EDITS * 5 * 4, "refused {refused} times");
        load.unharmed()?;
        eprintln!("at most {} MiB; {:?}", most >> 20, crowd.acts());
        stage.control_plane.process()?.alive()
    })
}

#[test]
fn clients_that_abuse_the_protocol_cost_only_themselves() -> Result<()> {
    let acts = ["left unanswered", "refused", "replayed", "wanted many names", "wanted too many names"];
    beside(&acts, |crowd| {
        crowd.join(50, crowd::never_acknowledges);
        crowd.join(50, crowd::refuses_everything);
        crowd.join(20, crowd::replays_nonces);
        crowd.join(3, |visit| crowd::wants_names(visit, 40_000));
        crowd.join(3, |visit| crowd::wants_names(visit, 100_000));
    })
}

#[test]
fn clients_that_speak_no_grpc_cost_only_themselves() -> Result<()> {
    let acts = ["sent no protobuf", "announced too much", "sent noise", "sent no frames"];
    beside(&acts, |crowd| {
        crowd.join(10, crowd::sends_no_protobuf);
        crowd.join(10, crowd::announces_too_much);
        crowd.join(10, crowd::sends_noise);
        crowd.join(10, crowd::sends_no_frames);
    })
}

#[test]
fn clients_that_hold_on_to_what_they_can_get_cost_only_themselves() -> Result<()> {
    let acts =
        ["said nothing", "opened many streams", "sent a huge header", "sent endless headers", "read nothing"];
    beside(&acts, |crowd| {
        crowd.join(200, crowd::says_nothing);
        crowd.join(5, crowd::opens_many_streams);
        crowd.join(5, crowd::sends_a_huge_header);
        crowd.join(3, crowd::sends_endless_headers);
        crowd.join(5, crowd::reads_nothing);
    })
}
