//! What one HTTP/2 connection may ask for at once.

use std::time::Duration;

use anyhow::{Result, ensure};
use spillway_tests::load::Load;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{is_served, world_with};

const DELAY_MS: u64 = 300;
const STREAMS: u32 = 2;
const TURNS: u32 = 4;

#[test]
fn a_connection_has_only_so_many_requests_at_once() -> Result<()> {
    Scene::play(|scene| {
        let limits = format!("protocol: HTTP, limits: {{maxConcurrentStreams: {STREAMS}}}");
        let (world, port) = world_with(scene, &limits)?;
        wait::until("the listener", || is_served(&port))?;
        let client = world.client.http2()?;
        let url = format!("http://{}/", port.address());
        // The client learns the limit on its only connection.
        client.read(&url)?;
        world.upstreams.answer_slowly("alpha", 200, DELAY_MS)?;
        let all = STREAMS * TURNS;
        let report =
            Load::get(url).concurrency(usize::try_from(all)?).requests(usize::try_from(all)?).run(&client)?;
        ensure!(report.other_than(&[200]).is_empty(), "{:?}", report.other_than(&[200]));
        // However slow the machine is: nobody's turn begins before the last one's has ended.
        let least = Duration::from_millis(DELAY_MS) * TURNS;
        ensure!(report.elapsed() >= least, "{all} answers in {:?}", report.elapsed());
        Ok(())
    })
}
