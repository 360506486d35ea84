//! Connections whose protocol is nobody's business.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use anyhow::{Result, ensure};
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{ask, connect};
use crate::text::document;
use crate::world::{TO_ALPHA, World};

/// Sends back what comes, and a last word after the other side has said everything.
fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut stream.try_clone()?, &mut stream)?;
    stream.write_all(b"bye")?;
    stream.shutdown(Shutdown::Write)
}

#[test]
fn bytes_go_both_ways_and_one_side_may_end_before_the_other() -> Result<()> {
    Scene::play(|scene| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let upstream = listener.local_addr()?.port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || echo(stream));
            }
        });
        let port = Port::free()?;
        let texts = [
            document(
                "Gateway",
                "raw",
                &format!(
                    "fleet: edge\nlisteners: [{{name: raw, address: 127.0.0.1, port: {}, protocol: TCP}}]",
                    port.number()
                ),
            ),
            document(
                "Route",
                "raw",
                "parentRefs: [{name: raw, sectionName: raw}]\nrules: [{name: all, backendRefs: [{name: raw}]}]",
            ),
            document(
                "Backend",
                "raw",
                &format!("protocol: TCP\nendpoints: [{{address: 127.0.0.1, port: {upstream}}}]"),
            ),
        ];
        let _world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("raw.yaml", &texts.join("---\n"))])?;
        let said = |stream: &mut TcpStream, text: &[u8]| -> Result<()> {
            stream.write_all(text)?;
            let mut back = vec![0; text.len()];
            stream.read_exact(&mut back)?;
            ensure!(back == text, "{} bytes came back changed", back.len());
            Ok(())
        };
        let mut stream = wait::until("the listener", || {
            let mut stream = connect(&port)?;
            said(&mut stream, b"\x00\xff first")?;
            Ok(stream)
        })?;
        for length in [1, 1_000, 30_000] {
            said(&mut stream, &vec![b'x'; length])?;
        }
        stream.shutdown(Shutdown::Write)?;
        let mut last = String::new();
        stream.read_to_string(&mut last)?;
        ensure!(last == "bye", "{last:?}");
        Ok(())
    })
}

#[test]
fn a_connection_that_nobody_can_answer_is_closed() -> Result<()> {
    Scene::play(|scene| {
        let port = Port::free()?;
        let listener = format!("name: raw, address: 127.0.0.1, port: {}, protocol: TCP", port.number());
        let to_raw =
            "parentRefs: [{name: raw, sectionName: raw}]\nrules: [{name: all, backendRefs: [{name: raw}]}]";
        let fixed = [
            document("Gateway", "raw", &format!("fleet: edge\nlisteners: [{{{listener}}}]")),
            document("Route", "raw", to_raw),
        ];
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let set = |endpoints: &str| {
            let backend = document("Backend", "raw", &format!("protocol: TCP\nendpoints: [{endpoints}]"));
            world.documents.write("raw.yaml", &[fixed.join("---\n"), backend].join("---\n"))
        };
        let alpha = format!("address: 127.0.0.1, port: {}", world.upstreams.port("alpha")?);
        let served = || {
            wait::until("the endpoint", || {
                let answer = ask(&port, "", "/", "")?;
                ensure!(answer.contains("x-upstream: alpha"), "{answer:?}");
                Ok(())
            })
        };
        // It is gone, and it drains: what a client sees is the end of its connection, and not silence.
        for nobody in [String::new(), format!("{{{alpha}, weight: 0}}")] {
            set(&format!("{{{alpha}}}"))?;
            served()?;
            set(&nobody)?;
            wait::until("closed connections", || {
                for _ in 0..20 {
                    let answer = ask(&port, "", "/", "")?;
                    ensure!(answer.is_empty(), "{answer:?}");
                }
                Ok(())
            })?;
        }
        set(&format!("{{{alpha}}}"))?;
        served()
    })
}
