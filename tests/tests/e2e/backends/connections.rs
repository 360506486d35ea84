//! How long connections to endpoints may take to come about, and how long they stay.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use spillway_tests::client::Answer;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{Pool, pool};

/// Somebody who listens and lets nobody in: the queue of connections that wait to be accepted is full, and further ones are passed over in silence.
struct Closed {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Closed {
    fn listen() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        // To listen again is to change the length of the queue.
        rustix::net::listen(&listener, 0)?;
        let mut waiting = Vec::new();
        for _ in 0..10 {
            match TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_millis(500)) {
                Ok(stream) => waiting.push(stream),
                Err(_) => return Ok(Self { listener, _waiting: waiting }),
            }
        }
        bail!("the queue does not fill up")
    }
}

#[test]
fn a_connection_that_does_not_come_about_is_given_up_after_its_time() -> Result<()> {
    Scene::play(|scene| {
        let closed = Closed::listen()?;
        let at = format!("{{address: 127.0.0.1, port: {}}}", closed.listener.local_addr()?.port());
        let bounded = |time: &str| {
            pool(std::slice::from_ref(&at), &format!(", connectionPool: {{connectTimeout: {time}}}"))
        };
        let pool = Pool::start(scene, &["e1"], ", timeouts: {request: 1s}", "")?;
        // With more time than the request has, the request is over first.
        pool.world.documents.write("pool.yaml", &bounded("1m"))?;
        let ends = |status: u16| {
            wait::until(&format!("two answers of {status}"), || {
                for _ in 0..2 {
                    let answer = pool.world.get("/", &[("connection", "close")])?;
                    ensure!(answer.status == status, "{answer:?}");
                }
                Ok(())
            })
        };
        ends(504)?;
        pool.world.documents.write("pool.yaml", &bounded("200ms"))?;
        ends(503)?;
        let given_up = pool.world.envoy.stat("cluster.pool.upstream_cx_connect_timeout")?;
        ensure!(given_up > 0, "no connection was given up");
        Ok(())
    })
}

#[test]
fn a_connection_that_nobody_uses_is_closed_after_its_time() -> Result<()> {
    Scene::play(|scene| {
        let idle = |time: &str| format!(", connectionPool: {{idleTimeout: {time}}}");
        let pool = Pool::start(scene, &["e1"], "", &idle("300ms"))?;
        let stat = |name: &str| pool.world.envoy.stat(&format!("cluster.pool.{name}"));
        let served = |answer: &Answer| answer.status == 200;
        pool.world.until("the endpoint", "/", served)?;
        wait::until("the end of idle connections", || {
            let (open, ended) = (stat("upstream_cx_active")?, stat("upstream_cx_idle_timeout")?);
            ensure!(open == 0 && ended > 0, "{open} open, {ended} ended");
            Ok(())
        })?;
        // With more time they stay: those of the old cluster end with it, those of the new one don't.
        pool.set(&[("e1", "")], &idle("1h"))?;
        wait::until("a connection that stays", || {
            pool.world.until("the endpoint", "/", served)?;
            let ended = stat("upstream_cx_idle_timeout")?;
            std::thread::sleep(Duration::from_millis(900));
            let (open, after) = (stat("upstream_cx_active")?, stat("upstream_cx_idle_timeout")?);
            ensure!(open > 0 && after == ended, "{open} open, {} ended", after - ended);
            Ok(())
        })
    })
}
