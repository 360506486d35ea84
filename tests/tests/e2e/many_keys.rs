//! More keys than a limit's table has places.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use spillway_tests::process;
use spillway_tests::scene::Scene;

use crate::text::{care, site};
use crate::world::World;

/// A rule without any weight is answered by Envoy itself, with 500, once the filter has admitted the request.
const NOWHERE: &str = "- {name: nowhere, backendRefs: [{name: alpha, weight: 0}]}";
const ADMITTED: u16 = 500;
const KEYS: u32 = 200_000;
const CONNECTIONS: u32 = 8;
/// A key is not kept without some bytes: a hundred thousand of them would be far more than this.
const FLAT: u64 = 8 << 20;

/// A request for each user, one after another, and how many were admitted.
fn visit(gateway: SocketAddr, users: Range<u32>, progress: &AtomicU32) -> Result<u32> {
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut admitted = 0;
    let mut buffer = [0; 4 << 10];
    let mut held = Vec::new();
    for user in users {
        write!(held, "GET / HTTP/1.1\r\nhost: a\r\nx-user: user-{user}\r\n\r\n")?;
        stream.write_all(&held)?;
        held.clear();
        let (status, end) = loop {
            let read = stream.read(&mut buffer)?;
            ensure!(read > 0, "Envoy closed the connection of user-{user}");
            held.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if let Some(answer) = next_answer(&held)? {
                break answer;
            }
        };
        ensure!(held.len() == end, "more than one answer to user-{user}");
        held.clear();
        admitted += u32::from(status == ADMITTED);
        progress.fetch_add(1, Ordering::Relaxed);
    }
    Ok(admitted)
}

/// The status of the first whole answer, and where it ends.
fn next_answer(bytes: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let rest = end + 4 + length.parse::<usize>()?;
    Ok((bytes.len() >= rest).then_some((status, rest)))
}

#[test]
fn many_keys_need_no_memory_and_free_nobody() -> Result<()> {
    Scene::play(|scene| {
        let policy = care("rateLimits: [{name: per-user, key: [{header: x-user}], rate: 1/h, burst: 20}]");
        let mut world = World::start(scene, &[("routes.yaml", &site(NOWHERE)), ("policy.yaml", &policy)])?;
        let limited = [("x-user", "limited")];
        for _ in 0..20 {
            assert_eq!(world.get("/", &limited)?.status, ADMITTED);
        }
        assert_eq!(world.get("/", &limited)?.status, 429);
        let envoy = world.envoy.process().id();
        let gateway = world.web.address();
        let progress = AtomicU32::new(0);
        let (admitted, asked, half) = thread::scope(|scope| {
            let share = KEYS / CONNECTIONS;
            let senders: Vec<_> = (0..CONNECTIONS)
                .map(|number| {
                    let (users, progress) = (number * share..(number + 1) * share, &progress);
                    scope.spawn(move || visit(gateway, users, progress))
                })
                .collect();
            let (mut asked, mut half) = (0, None);
            while !senders.iter().all(thread::ScopedJoinHandle::is_finished) {
                let answer = world.get("/", &limited)?;
                ensure!(answer.status == 429, "the limited client was let in after {asked} requests");
                asked += 1;
                if half.is_none() && progress.load(Ordering::Relaxed) >= KEYS / 2 {
                    half = Some(process::memory(envoy)?);
                }
                thread::sleep(Duration::from_millis(5));
            }
            let mut admitted = 0;
            for sender in senders {
                admitted += sender.join().ok().context("a sender broke down")??;
            }
            anyhow::Ok((admitted, asked, half))
        })?;
        // A new key takes the place of the one with the most tokens, and its tokens with it: those are never few here.
        assert_eq!(admitted, KEYS);
        ensure!(asked > 100, "the limited client asked {asked} times only");
        let (half, all) = (half.context("the flood was too short")?, process::memory(envoy)?);
        let grown = all.saturating_sub(half);
        eprintln!("{KEYS} keys: Envoy has {} KiB, {} KiB more than at half of them", all >> 10, grown >> 10);
        ensure!(grown < FLAT, "Envoy grew by {grown} bytes over the second half of the keys");
        assert_eq!(world.get("/", &limited)?.status, 429);
        Ok(())
    })
}
