//! Requests in flight: so many and no more, and none that stays behind.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::load::{Load, Record};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::text::{TO_ALPHA, care};
use crate::world::World;

const POOL: &str = "concurrency/care/pool";
const MAX: usize = 4;

fn is_rejected(record: &Record, by: &str) -> bool {
    record
        .outcome
        .as_ref()
        .is_ok_and(|outcome| outcome.status == 503 && outcome.rejected_by.as_deref() == Some(by))
}

/// How many of `requests` that are all under way at once are admitted. The upstream has to be slow.
fn admitted_at_once(world: &World, user: &str, requests: usize, by: &str) -> Result<usize> {
    wait::until("requests that are all under way at once", || {
        let load = Load::get(world.url("/")).header("x-user", user).concurrency(requests).requests(requests);
        let report = load.run(&world.client.reconnected()?)?;
        let (rejected, admitted): (Vec<_>, Vec<_>) =
            report.records.iter().partition(|record| is_rejected(record, by));
        ensure!(
            admitted.iter().all(|record| record.status() == Some(200)),
            "{:?}",
            report.other_than(&[200, 503])
        );
        let first = admitted.iter().map(|record| record.answered).min().context("nobody was admitted")?;
        let last = rejected.iter().map(|record| record.answered).max();
        // On a machine that stands still, the first may be over before the last has come; that says nothing.
        ensure!(last.is_none_or(|last| last < first), "not all were under way at once");
        Ok(admitted.len())
    })
}

#[test]
fn a_bulkhead_admits_exactly_so_many_by_key() -> Result<()> {
    Scene::play(|scene| {
        let policy = care(
            "concurrency: [{name: pool, key: [{header: x-user}], max: 4, response: {status: 503, body: full}}]",
        );
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        world.upstreams.answer_slowly("alpha", 200, 700)?;
        thread::scope(|scope| {
            let users = ["ann", "bob"].map(|user| {
                let world = &world;
                scope.spawn(move || admitted_at_once(world, user, 12, POOL))
            });
            for user in users {
                assert_eq!(user.join().ok().context("broke down")??, MAX, "each user has a pool");
            }
            anyhow::Ok(())
        })
    })
}

#[test]
fn nothing_that_ends_stays_in_flight() -> Result<()> {
    Scene::play(|scene| {
        let policy = care(
            "concurrency: [{name: pool, key: [{header: x-user}], max: 4}]\n\
             rateLimits: [{name: once, key: [{header: x-once}], rate: 1/h, burst: 1, when: [{headers: [{name: x-once, value: limited}]}]}]",
        );
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        let whole = |after: &str| -> Result<()> {
            world.upstreams.answer_slowly("alpha", 200, 700)?;
            // Envoy sees that a client has gone when it next looks at the connection.
            let mut admitted = 0;
            wait::until(after, || {
                admitted = admitted_at_once(&world, "ann", 12, POOL)?;
                ensure!(admitted == MAX, "{admitted} of {MAX} are admitted after {after}");
                Ok(())
            })
        };
        whole("the start")?;

        // Clients that leave before they are answered.
        for _ in 0..12 {
            let mut stream = TcpStream::connect(world.web.address())?;
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-user: ann\r\n\r\n")?;
            thread::sleep(Duration::from_millis(30));
        }
        whole("clients that left")?;

        // Upstreams that break connections off, and that fail.
        let load = || Load::get(world.url("/")).header("x-user", "ann").concurrency(3).requests(30);
        world.upstreams.reset_connections("alpha")?;
        assert_eq!(load().run(&world.client)?.count(200), 0);
        whole("resets")?;
        world.upstreams.answer_with("alpha", 500)?;
        assert_eq!(load().run(&world.client)?.count(500), 30);
        whole("failures")?;

        // Requests that are rejected by another rule after room was found for them.
        world.upstreams.answer_with("alpha", 200)?;
        let limited = load().header("x-once", "limited").run(&world.client)?;
        assert_eq!((limited.count(200), limited.count(429)), (1, 29));
        whole("rejects")?;

        // A rule that is edited while requests are under way.
        let busy = load().requests(3).start(&world.client.reconnected()?)?;
        world.documents.edit("policy.yaml", &["max: 4}]"], &["max: 4, response: {body: edited}}]"])?;
        assert_eq!(busy.wait()?.count(200), 3);
        whole("an edit")
    })
}

#[test]
fn an_adaptive_limit_stays_within_its_bounds() -> Result<()> {
    const AUTO: &str = "concurrency/care/auto";
    Scene::play(|scene| {
        let policy = care("concurrency: [{name: auto, adaptive: {min: 3, max: 6}}]");
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("policy.yaml", &policy)])?;
        // Whatever it learns from a fast upstream that becomes slow:
        let learn = || Load::get(world.url("/")).concurrency(8).requests(400).run(&world.client);
        assert_eq!(learn()?.other_than(&[200, 503]), [].into());
        world.upstreams.answer_slowly("alpha", 200, 700)?;
        let admitted = admitted_at_once(&world, "ann", 20, AUTO)?;
        assert!((3..=6).contains(&admitted), "{admitted} admitted");
        world.upstreams.answer_with("alpha", 200)?;
        // One after another is never too many.
        let report = Load::get(world.url("/")).concurrency(1).requests(100).run(&world.client)?;
        assert_eq!(report.other_than(&[200]), [].into());
        Ok(())
    })
}
