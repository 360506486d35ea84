//! One truth about who a client is: for limits, for hashing and in the log.

use std::collections::BTreeSet;
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use spillway_tests::client::Client;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;
use spillway_tests::wait;

use super::{BY_ADDRESS, ask, guarded};
use crate::text::document;
use crate::world::{TO_ALPHA, World};

/// Status and upstream of what an address that the trusted proxy saw is answered, whatever a client wrote before it.
fn answered(port: &Port, invented: usize, address: &str) -> Result<(String, Option<String>)> {
    let headers = format!("x-forwarded-for: 10.0.0.{invented}, {address}\r\n");
    let answer = ask(port, "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n", "/", &headers)?;
    let upstream = answer.lines().find_map(|line| line.strip_prefix("x-upstream: "));
    Ok((answer.get(9..12).unwrap_or_default().to_owned(), upstream.map(str::to_owned)))
}

#[test]
fn limits_hashing_and_the_log_know_a_client_by_the_same_address() -> Result<()> {
    Scene::play(|scene| {
        let names = ["e1", "e2", "e3", "e4"];
        let upstreams = Upstreams::start_logging(&scene.log("pool"), &Client::new()?, &names)?;
        let endpoints: Vec<_> = names
            .iter()
            .map(|name| Ok(format!("{{address: 127.0.0.1, port: {}}}", upstreams.port(name)?)))
            .collect::<Result<_>>()?;
        let spec = format!("endpoints: [{}]\nloadBalancing: {{policy: RingHash}}", endpoints.join(", "));
        let port = Port::free()?;
        let listener =
            "protocol: HTTP, accessLog: true, clientAddress: {trustedHops: 1, proxyProtocol: true}";
        let text =
            guarded(&port, listener).replace("[{name: alpha}]", "[{name: pool}], hashOn: [clientAddress]");
        let pool = document("Backend", "pool", &spec);
        let files = [
            ("routes.yaml", TO_ALPHA),
            ("guarded.yaml", &text),
            ("pool.yaml", &pool),
            ("by-address.yaml", BY_ADDRESS),
        ];
        let mut world = World::start(scene, &files)?;
        wait::until("the listener", || {
            ensure!(answered(&port, 0, "203.0.113.1")?.0 == "200");
            Ok(())
        })?;
        let clients: Vec<_> = (1..=12).map(|n| format!("198.51.100.{n}")).collect();
        // Side by side, because a connection on which a request was refused is not closed at once.
        let found: Vec<_> = thread::scope(|scope| {
            let ask = |address: &String| {
                (0..3).map(|invented| answered(&port, invented, address)).collect::<Result<Vec<_>>>()
            };
            let asking: Vec<_> = clients.iter().map(|address| scope.spawn(move || ask(address))).collect();
            asking.into_iter().map(|one| one.join().ok().context("a client broke")?).collect::<Result<_>>()
        })?;
        let mut seen = BTreeSet::new();
        for (address, answers) in clients.iter().zip(&found) {
            let [(first, one), (second, other), (third, _)] = &answers[..] else { bail!("{answers:?}") };
            ensure!([first, second, third] == ["200", "200", "429"], "{address}: {answers:?}");
            ensure!(one.is_some() && one == other, "{address}: {answers:?}");
            seen.extend(one.clone());
        }
        // Twelve on one endpoint of four: less than once in a million, and the hash of an address is always the same.
        ensure!(seen.len() > 1, "{seen:?}");
        wait::until("the log", || {
            let output = world.envoy.process().output();
            for address in &clients {
                let lines: Vec<Value> = output
                    .lines()
                    .filter(|line| line.starts_with('{') && line.contains(&format!("\"{address}:")))
                    .map(|line| serde_json::from_str(line).context("the log is JSON"))
                    .collect::<Result<_>>()?;
                let own = |line: &&Value| {
                    line["client"].as_str().is_some_and(|client| client.starts_with(address.as_str()))
                };
                ensure!(lines.iter().filter(own).count() == 3, "{address}: {lines:?}");
            }
            Ok(())
        })
    })
}
