//! Weight 0: nothing new comes, and what is under way goes on to its end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::client::Answer;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{Pool, endpoint, route};
use crate::listeners;
use crate::text::document;
use crate::world::World;

const DELAY_MS: u64 = 5_000;

/// The revision that the proxy has accepted everything of; `None` while it has not.
fn in_force(world: &World) -> Result<Option<u64>> {
    let output = world.control_plane.command(&["status", "-o", "json"])?;
    let fleets: Value = serde_json::from_slice(&output.stdout)?;
    let fleet = fleets.get(0).context("no fleet")?;
    let is_in_force = fleet.get("inForce") == Some(&Value::Bool(true));
    Ok(fleet.get("revision").and_then(Value::as_u64).filter(|_| is_in_force))
}

/// A request that takes its time on e1, an edit that drains e1, and the request's answer afterwards.
fn drained_by(rule: &str, edit: impl Fn(&Pool) -> Result<()>, others: &[&str]) -> Result<()> {
    Scene::play(|scene| {
        let pool = Pool::start(scene, &["e1", "e2"], rule, "")?;
        let world = &pool.world;
        pool.set(&[("e1", "")], "")?;
        world.until("e1 alone", "/", |answer| answer.header("x-upstream") == Some("e1"))?;
        pool.upstreams.answer_slowly("e1", 200, DELAY_MS)?;
        let before = pool.upstreams.requests("e1")?;
        thread::scope(|scope| {
            let under_way = scope.spawn(|| listeners::ask(&world.web, "", "/", ""));
            wait::until("the request", || {
                ensure!(pool.upstreams.requests("e1")? == before + 1);
                Ok(())
            })?;
            let before = in_force(world)?.context("something is not in force yet")?;
            edit(&pool)?;
            wait::until("the edit to be in force", || {
                let revision = in_force(world)?;
                ensure!(revision.is_some_and(|revision| revision > before), "{revision:?} after {before}");
                Ok(())
            })?;
            ensure!(!under_way.is_finished(), "the request was over before the edit was in force");
            world.until("nothing new on e1", "/", |answer| {
                answer.status == 200 && answer.header("x-upstream").is_some_and(|name| others.contains(&name))
            })?;
            let answer = under_way.join().ok().context("the client broke")??;
            ensure!(
                answer.starts_with("HTTP/1.1 200") && answer.contains("x-upstream: e1"),
                "what was under way ended with {answer:?}"
            );
            Ok(())
        })
    })
}

#[test]
fn a_request_under_way_ends_well_while_its_endpoint_drains() -> Result<()> {
    let drain = |pool: &Pool| pool.set(&[("e1", ", weight: 0"), ("e2", "")], "");
    drained_by("", drain, &["e2"])
}

#[test]
fn a_request_under_way_ends_well_while_its_backend_drains() -> Result<()> {
    let drain = |pool: &Pool| {
        let text = route("").replace("{name: pool}", "{name: pool, weight: 0}, {name: beta}");
        pool.world.documents.write("route.yaml", &text)
    };
    drained_by("", drain, &["beta"])
}

#[test]
fn a_connection_outlives_that_its_endpoint_drains() -> Result<()> {
    Scene::play(|scene| {
        let pool = Pool::start(scene, &["e1", "e2"], "", "")?;
        let port = Port::free()?;
        let raw = |first: &str| -> Result<String> {
            let endpoints = [endpoint(&pool.upstreams, "e1", first)?, endpoint(&pool.upstreams, "e2", "")?];
            Ok(document(
                "Backend",
                "raw",
                &format!("{{protocol: TCP, endpoints: [{}]}}", endpoints.join(", ")),
            ))
        };
        let listener = format!(
            "fleet: edge\nlisteners: [{{name: raw, address: 127.0.0.1, port: {}, protocol: TCP}}]",
            port.number()
        );
        let to_raw =
            "parentRefs: [{name: raw, sectionName: raw}]\nrules: [{name: all, backendRefs: [{name: raw}]}]";
        let texts = [document("Gateway", "raw", &listener), document("Route", "raw", to_raw), raw("")?];
        pool.world.documents.write("raw.yaml", &texts.join("---\n"))?;
        let ask = |stream: &mut TcpStream| -> Result<String> {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
            let mut answer = String::new();
            let mut byte = [0];
            // To the end of the body, which is the upstream's name and a line feed.
            while !answer.split_once("\r\n\r\n").is_some_and(|(_, body)| body.ends_with('\n')) {
                stream.read_exact(&mut byte)?;
                answer.push(char::from(byte[0]));
            }
            Ok(answer.lines().last().unwrap_or_default().to_owned())
        };
        let mut old = wait::until("a connection to e1", || {
            let mut stream = TcpStream::connect(port.address())?;
            stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
            let name = ask(&mut stream)?;
            ensure!(name == "e1", "{name}");
            Ok(stream)
        })?;
        pool.world.documents.write(
            "raw.yaml",
            &[&texts[0], &texts[1], &raw(", weight: 0")?].map(String::as_str).join("---\n"),
        )?;
        wait::until("no new connection to e1", || {
            for _ in 0..20 {
                let name = ask(&mut TcpStream::connect(port.address())?)?;
                ensure!(name == "e2", "{name}");
            }
            Ok(())
        })?;
        for _ in 0..10 {
            let name = ask(&mut old)?;
            ensure!(name == "e1", "the old connection leads to {name}");
        }
        Ok(())
    })
}

#[test]
fn keys_of_an_endpoint_that_drains_move_and_come_back() -> Result<()> {
    Scene::play(|scene| {
        let (names, maglev) = (["e1", "e2", "e3"], ", loadBalancing: {policy: Maglev}");
        let pool = Pool::start(scene, &names, ", hashOn: [{header: x-user}]", maglev)?;
        let of = |name: &'static str| move |answer: &Answer| answer.header("x-upstream") == Some(name);
        let before = super::sticky::settled(200, |user| pool.answers(user), &names)?;
        pool.set(&[("e1", ", weight: 0"), ("e2", ", weight: 0"), ("e3", "")], maglev)?;
        pool.world.until("e3 alone", "/", of("e3"))?;
        pool.set(&[("e1", ""), ("e2", ""), ("e3", "")], maglev)?;
        let after = super::sticky::settled(200, |user| pool.answers(user), &names)?;
        ensure!(before == after, "a key is elsewhere than it was");
        Ok(())
    })
}
