//! What listeners bound, whom they take clients for, and connections that are passed on as they are.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use crate::world::{TO_ALPHA, World};

mod bytes;
mod client_address;
mod floods;
mod http2;
mod overload;

/// Longer than any bound of these tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// A second Gateway of the fleet with one listener, and a Route that leads from it to `alpha`.
fn guarded(port: &Port, listener: &str) -> String {
    format!(
        "apiVersion: spillway.dev/v1\nkind: Gateway\nmetadata: {{name: guarded}}\nspec:\n  fleet: edge\n  \
         listeners: [{{name: guarded, address: 127.0.0.1, port: {}, {listener}}}]\n---\n\
         apiVersion: spillway.dev/v1\nkind: Route\nmetadata: {{name: guarded}}\nspec:\n  parentRefs: [{{name: guarded}}]\n  \
         rules: [{{name: all, backendRefs: [{{name: alpha}}]}}]\n",
        port.number()
    )
}

pub(crate) fn connect(port: &Port) -> Result<TcpStream> {
    let stream = TcpStream::connect(port.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Everything until the other side closes; nothing more is sent.
pub(crate) fn until_closed(stream: &mut TcpStream) -> Result<String> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => return Err(error).context("the connection was not closed"),
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// A request on a connection of its own, after some bytes of another protocol.
pub(crate) fn ask(port: &Port, before: &str, path: &str, headers: &str) -> Result<String> {
    let mut stream = connect(port)?;
    let request = format!("{before}GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    // In one piece: who is refused at its first line may be cut off before a second.
    stream.write_all(request.as_bytes())?;
    until_closed(&mut stream)
}

fn is_served(port: &Port) -> Result<()> {
    let answer = ask(port, "", "/", "")?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    Ok(())
}

/// A world with such a listener, once it serves.
fn world_with(scene: &Scene, listener: &str) -> Result<(World, Port)> {
    let port = Port::free()?;
    let text = guarded(&port, listener);
    let world = World::start(scene, &[("routes.yaml", TO_ALPHA), ("guarded.yaml", &text)])?;
    Ok((world, port))
}

#[test]
fn slow_and_greedy_clients_are_cut_while_others_are_served() -> Result<()> {
    Scene::play(|scene| {
        let limits =
            "idleTimeout: 1s, requestHeadersTimeout: 1s, requestTimeout: 2s, maxRequestHeaders: 8KiB";
        let (_world, port) = world_with(scene, &format!("protocol: HTTP, limits: {{{limits}}}"))?;
        wait::until("the listener", || is_served(&port))?;

        // Nothing is asked; headers never end; the body never ends.
        let mut silent = connect(&port)?;
        let mut headers = connect(&port)?;
        write!(headers, "GET / HTTP/1.1\r\nhost: a\r\n")?;
        let mut body = connect(&port)?;
        write!(body, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n")?;
        let mut writer = body.try_clone()?;
        let dripping = std::thread::spawn(move || {
            // One byte now and then keeps the stream from being idle.
            for _ in 0..100 {
                if writer.write_all(b"x").is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        is_served(&port).context("beside slow clients")?;
        ensure!(until_closed(&mut silent)?.is_empty());
        let answer = until_closed(&mut headers)?;
        ensure!(answer.starts_with("HTTP/1.1 408"), "headers: {answer:?}");
        let answer = until_closed(&mut body)?;
        ensure!(answer.starts_with("HTTP/1.1 408"), "body: {answer:?}");
        drop(body);
        ensure!(dripping.join().is_ok());

        let large = format!("x-large: {}\r\n", "x".repeat(9_000));
        let answer = ask(&port, "", "/", &large)?;
        ensure!(answer.starts_with("HTTP/1.1 431"), "{answer:?}");
        is_served(&port)
    })
}

#[test]
fn connections_beyond_the_limit_are_closed_and_the_others_go_on() -> Result<()> {
    Scene::play(|scene| {
        let (_world, port) = world_with(scene, "protocol: HTTP, limits: {maxConnections: 2}")?;
        wait::until("the listener", || is_served(&port))?;
        let hold = || -> Result<TcpStream> {
            let mut stream = connect(&port)?;
            write!(stream, "GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
            let mut first = [0; 12];
            stream.read_exact(&mut first)?;
            ensure!(&first == b"HTTP/1.1 200");
            Ok(stream)
        };
        // Those of the wait above may still be counted.
        let kept = [wait::until("the first connection", hold)?, wait::until("the second connection", hold)?];
        ensure!(hold().is_err(), "a third connection was served");
        for mut stream in &kept {
            write!(stream, "GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
            ensure!(stream.read(&mut [0; 1])? == 1);
        }
        drop(kept);
        wait::until("room for another", || is_served(&port))
    })
}

const BY_ADDRESS: &str = "\
apiVersion: spillway.dev/v1
kind: TrafficPolicy
metadata: {name: by-address}
spec:
  targetRefs: [{kind: Gateway, name: guarded}]
  rateLimits: [{name: each, key: [{clientAddress: {}}], rate: 1/h, burst: 2}]
";

#[test]
fn the_clients_address_is_the_one_that_trusted_proxies_saw() -> Result<()> {
    Scene::play(|scene| {
        let (world, port) =
            world_with(scene, "protocol: HTTP, clientAddress: {trustedHops: 1, proxyProtocol: true}")?;
        let line = "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n";
        let status = |before: &str, forwarded: &str| -> Result<String> {
            let headers = if forwarded.is_empty() {
                String::new()
            } else {
                format!("x-forwarded-for: {forwarded}\r\n")
            };
            Ok(ask(&port, before, "/", &headers)?.get(9..12).unwrap_or_default().to_owned())
        };
        wait::until("the listener", || {
            ensure!(status(line, "")? == "200");
            Ok(())
        })?;
        ensure!(status("", "")?.is_empty(), "a connection without the PROXY header was served");
        world.documents.write("by-address.yaml", BY_ADDRESS)?;
        // The last address is the one that the trusted proxy appended; what stands before it anybody can have written.
        wait::until("the limit", || {
            ensure!(status(line, "198.51.100.9")? == "429");
            Ok(())
        })?;
        for address in ["198.51.100.1", "198.51.100.2"] {
            let found: Vec<_> =
                (0..3).map(|i| status(line, &format!("10.0.0.{i}, {address}"))).collect::<Result<_>>()?;
            ensure!(found == ["200", "200", "429"], "{address}: {found:?}");
        }
        let other = "PROXY TCP4 192.0.2.77 192.0.2.2 1000 80\r\n";
        let found: Vec<_> = (0..3).map(|_| status(other, "")).collect::<Result<_>>()?;
        ensure!(found == ["200", "200", "429"], "by the PROXY header: {found:?}");
        Ok(())
    })
}

#[test]
fn connections_are_passed_on_as_they_are() -> Result<()> {
    Scene::play(|scene| {
        let world = World::start(scene, &[("routes.yaml", TO_ALPHA)])?;
        let (port, closed) = (Port::free()?, Port::free()?);
        let (upstream, number) = (world.upstreams.port("alpha")?, port.number());
        world.documents.write(
            "tcp.yaml",
            &format!(
                "apiVersion: spillway.dev/v1\nkind: Gateway\nmetadata: {{name: raw}}\nspec:\n  fleet: edge\n  listeners:\n    \
                 - {{name: raw, address: 127.0.0.1, port: {number}, protocol: TCP}}\n    \
                 - {{name: closed, address: 127.0.0.1, port: {}, protocol: TCP}}\n---\n\
                 apiVersion: spillway.dev/v1\nkind: Route\nmetadata: {{name: raw}}\nspec:\n  parentRefs: [{{name: raw, sectionName: raw}}]\n  \
                 rules: [{{name: all, backendRefs: [{{name: raw}}], timeouts: {{idle: 1s}}}}]\n---\n\
                 apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: raw}}\nspec: {{protocol: TCP, endpoints: [{{address: 127.0.0.1, port: {upstream}}}]}}\n",
                closed.number()
            ),
        )?;
        wait::until("the listener", || {
            let answer = ask(&port, "", "/", "")?;
            ensure!(answer.contains("x-upstream: alpha"), "{answer:?}");
            Ok(())
        })?;
        // Nobody says anything.
        ensure!(until_closed(&mut connect(&port)?)?.is_empty());
        // No Route leads from here.
        ensure!(until_closed(&mut connect(&closed)?)?.is_empty());
        Ok(())
    })
}
