//! What becomes of clients when a proxy has too much to do: some are refused, the others are served, and the proxy stays.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::debian::Program;
use spillway_tests::process::Process;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{ask, connect};
use crate::world::{TO_ALPHA, World};

fn stat(world: &World, name: &str) -> Result<u64> {
    world.envoy.stat(&format!("overload.envoy.{name}"))
}

#[test]
fn connections_beyond_what_a_proxy_may_have_are_closed_and_the_others_served() -> Result<()> {
    const MOST: usize = 12;
    Scene::play(|scene| {
        let most = MOST.to_string();
        let world = World::start_with(scene, &[("routes.yaml", TO_ALPHA)], &["--max-connections", &most])?;
        let asks = |mut stream: &TcpStream| -> Result<()> {
            write!(stream, "GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
            let mut answer = String::new();
            let mut byte = [0];
            while !answer.ends_with("\r\n\r\nalpha\n") {
                ensure!(stream.read(&mut byte)? == 1, "closed after {answer:?}");
                answer.push(char::from(byte[0]));
            }
            Ok(())
        };
        // Connections of the harness itself count as well.
        let mut held = Vec::new();
        for _ in 0..=MOST {
            let stream = connect(&world.web)?;
            match asks(&stream) {
                Ok(()) => held.push(stream),
                Err(_) => break,
            }
        }
        ensure!(held.len() > MOST / 2 && held.len() <= MOST, "{} connections are served", held.len());
        let (name, refused) =
            (format!("listener.127.0.0.1_{}", world.web.number()), "downstream_global_cx_overflow");
        ensure!(world.envoy.stat(&format!("{name}.{refused}"))? > 0, "no connection was refused");
        for stream in &held {
            asks(stream).context("one that was there before")?;
        }
        ensure!(asks(&connect(&world.web)?).is_err(), "one more is served");
        drop(held);
        wait::until("room for others", || asks(&connect(&world.web)?))
    })
}

/// MiB with which the proxy counts as full; idle it has some thirty in use.
const HEAP: &str = "80";

#[test]
fn a_proxy_whose_memory_fills_up_sheds_requests_and_comes_back() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start_with(scene, &[("routes.yaml", TO_ALPHA)], &["--max-heap", HEAP])?;
        let generator = Program::find("nghttp2-client", "h2load", "SPILLWAY_H2LOAD")?;
        // Thirty connections with a hundred requests each of almost the largest headers that are allowed, which stay in memory until the
        // upstream has answered: more than the heap may have.
        world.upstreams.answer_slowly("alpha", 200, 6_000)?;
        let mut old = connect(&world.web)?;
        thread::scope(|scope| {
            let under_way = scope.spawn(|| ask(&world.web, "", "/", ""));
            wait::until("a request under way", || {
                ensure!(world.envoy.stat("cluster.alpha.upstream_rq_active")? == 1);
                Ok(())
            })?;
            let large = format!("x-large: {}", "x".repeat(50_000));
            let mut command = generator.command();
            command
                .args([
                    "--clients",
                    "30",
                    "--requests",
                    "3000",
                    "--max-concurrent-streams",
                    "100",
                    "--header",
                    &large,
                ])
                .arg(world.url("/"));
            let mut flood = Process::run("h2load", &command, &scene.log("h2load"))?;
            wait::until("overload", || {
                ensure!(stat(&world, "overload_actions.stop_accepting_requests.active")? == 1);
                Ok(())
            })?;
            // Whoever has a connection is answered at once, and not by the upstream.
            write!(old, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
            let mut refusal = String::new();
            old.read_to_string(&mut refusal)?;
            ensure!(refusal.starts_with("HTTP/1.1 503") && refusal.ends_with("overloaded"), "{refusal:?}");
            let answer = under_way.join().ok().context("the client broke")??;
            ensure!(answer.starts_with("HTTP/1.1 200"), "what was under way ended with {answer:?}");
            let pressure = stat(&world, "resource_monitors.fixed_heap.pressure")?;
            flood.ended()?;
            let told = flood.output();
            let counts = told.lines().find(|line| line.starts_with("requests: ")).context("no counts")?;
            println!("{counts}; the heap was full to {pressure} %");
            // Every request of the flood has an answer: some of the upstream, some a 503.
            ensure!(counts.contains("3000 done") && counts.contains(" 0 errored, 0 timeout"), "{counts}");
            ensure!(!counts.contains(" 0 failed") && !counts.contains(" 0 succeeded"), "{counts}");
            ensure!(pressure < 150, "the heap is full to {pressure} %");
            anyhow::Ok(())
        })?;
        world.upstreams.answer_with("alpha", 200)?;
        world.until("answers after the flood", "/", |answer| answer.status == 200)
    })
}
