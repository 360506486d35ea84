//! Streams without an end: a probe that is one has its result when the answer begins.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::client::Client;
use spillway_tests::envoy::Envoy;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::by_hand;

const RULE: &str = "circuit-breaker/orders/backend";
const CLOSED: &str = "spillway_breaker.policy.orders.rule.backend.to.closed";

/// An upstream whose answers to upgrades and to gRPC begin and do not end; or which fails whatever it gets.
fn upstream(fails: Arc<AtomicBool>) -> Result<u16> {
    by_hand::upstream(move |head| {
        let answer = if fails.load(Ordering::Relaxed) {
            "500 Failure\r\ncontent-length: 0"
        } else if head.contains("\r\nupgrade: websocket") {
            "101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade"
        } else if head.contains("\r\ncontent-type: application/grpc") {
            "200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked"
        } else {
            "200 OK\r\ncontent-length: 0"
        };
        format!("{answer}\r\n\r\n")
    })
}

/// Sends the head of a request and reads the head of its answer; the connection stays open.
fn open(gateway: SocketAddr, request: &str) -> Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read(&mut byte)? == 1, "closed after {}", String::from_utf8_lossy(&head));
        head.extend_from_slice(&byte);
    }
    Ok((stream, String::from_utf8(head)?))
}

/// Opens the breaker, has one endless stream probe it, and sees it close while the stream goes on.
fn closes_at_the_beginning_of(request: &str, answer: &str) -> Result<()> {
    Scene::play(|scene| {
        let client = Client::new()?;
        let (web, admin) = (Port::free()?, Port::free()?);
        let fails = Arc::new(AtomicBool::new(true));
        let mut text = fs::read_to_string(artifacts::workspace().join("envoy/standalone.yaml"))?;
        let filter = artifacts::filter()?;
        for (old, new) in [
            ("port_value: 10000}", format!("port_value: {}}}", web.number())),
            ("port_value: 9901}", format!("port_value: {}}}", admin.number())),
            ("port_value: 8080}", format!("port_value: {}}}", upstream(Arc::clone(&fails))?)),
            ("target/spillway_filter.wasm}", format!("{}}}", filter.display())),
            ("use_remote_address: true", "upgrade_configs: [{upgrade_type: websocket}]".to_owned()),
            ("\"rate\": \"10/s\", \"burst\": 20", "\"rate\": \"10000/s\"".to_owned()),
            ("\"openFor\": \"5s\", \"probes\": 3", "\"openFor\": \"500ms\", \"probes\": 1".to_owned()),
        ] {
            ensure!(text.matches(old).count() == 1, "{old} is there {} times", text.matches(old).count());
            text = text.replace(old, &new);
        }
        let file = scene.folder().join("envoy.yaml");
        fs::write(&file, text)?;
        let envoy = Envoy::start(&client, &file, &admin, 2, &scene.log("envoy"))?;
        let url = format!("http://{}/orders/1", web.address());
        wait::until("the breaker to open", || {
            let answer = client.get(&url, &[])?;
            ensure!(answer.header("x-spillway-rejected-by") == Some(RULE), "answered with {}", answer.status);
            Ok(())
        })?;
        fails.store(false, Ordering::Relaxed);
        let closed = || anyhow::Ok(envoy.stats(CLOSED)?.values().sum::<u64>());
        assert_eq!(closed()?, 0);
        let (mut stream, head) = wait::until("the probe", || {
            let (stream, head) = open(web.address(), request)?;
            // Until the breaker probes, gRPC is rejected with 200 too.
            ensure!(!head.contains("x-spillway-rejected-by"), "{head}");
            Ok((stream, head))
        })?;
        ensure!(head.starts_with(answer), "{head}");
        // Nothing else has been sent: what closes the breaker is the stream that goes on.
        wait::until("the breaker to close", || {
            ensure!(closed()? == 1);
            Ok(())
        })?;
        assert_eq!(client.get(&url, &[])?.status, 200);
        stream.set_nonblocking(true)?;
        let still_open = stream.read(&mut [0; 1]).err().context("the stream has ended")?;
        assert_eq!(still_open.kind(), std::io::ErrorKind::WouldBlock);
        Ok(())
    })
}

#[test]
fn a_websocket_that_probes_has_its_result_when_it_begins() -> Result<()> {
    closes_at_the_beginning_of(
        "GET /orders/1 HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "HTTP/1.1 101",
    )
}

#[test]
fn a_grpc_stream_that_probes_has_its_result_when_it_begins() -> Result<()> {
    closes_at_the_beginning_of(
        "POST /orders/Watch HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\n\
         transfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200",
    )
}
