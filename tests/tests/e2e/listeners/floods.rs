//! Clients that abuse HTTP/2: each is cut off after little, while others are served.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use spillway_tests::load::Load;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{connect, is_served, world_with};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const REFUSED_STREAM: u32 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://a/` in the words of HPACK's static table.
const GET: [u8; 6] = [0x82, 0x86, 0x84, 0x01, 1, b'a'];
/// The same as POST.
const POST: [u8; 6] = [0x83, 0x86, 0x84, 0x01, 1, b'a'];

/// No flood needs as much to be cut off; what the kernel holds between client and proxy is far less.
const MOST: usize = 64 << 20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The n-th stream of a client.
fn stream(n: u32) -> u32 {
    2 * n + 1
}

/// What is sent again and again; the argument counts up from 0.
type Flood = Box<dyn Fn(u32) -> Vec<u8>>;

/// Each with the counter in which it is found afterwards.
fn floods() -> [(&'static str, Flood, &'static str); 7] {
    let reset = |n: u32| {
        let request = frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &GET);
        [request, frame(RST_STREAM, 0, stream(n), &8_u32.to_be_bytes())].concat()
    };
    let empty = |n: u32| match n {
        0 => frame(HEADERS, END_HEADERS, stream(0), &POST),
        _ => frame(DATA, 0, stream(0), &[]),
    };
    let endless = |n: u32| match n {
        0 => frame(HEADERS, END_STREAM, stream(0), &GET),
        _ => frame(CONTINUATION, 0, stream(0), &[&[0x00, 1, b'x', 100][..], &[b'x'; 100]].concat()),
    };
    [
        ("requests that are reset at once", Box::new(reset), "downstream_rq_too_many_premature_resets"),
        ("pings", Box::new(|_| frame(PING, 0, 0, &[0; 8])), "http2.outbound_control_flood"),
        ("settings", Box::new(|_| frame(SETTINGS, 0, 0, &[])), "http2.outbound_control_flood"),
        ("empty data", Box::new(empty), "http2.inbound_empty_frames_flood"),
        (
            "priorities",
            Box::new(|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16])),
            "http2.inbound_priority_frames_flood",
        ),
        (
            "window updates",
            Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
            "http2.inbound_window_update_frames_flood",
        ),
        ("headers without an end", Box::new(endless), "http2.header_overflow"),
    ]
}

/// Sends a flood and reads nothing, until the other side has had enough. Gives how many bytes that took.
fn cut_off(port: &Port, flood: &Flood) -> Result<usize> {
    let mut connection = connect(port)?;
    connection.set_write_timeout(Some(Duration::from_secs(20)))?;
    let mut sent = 0;
    connection.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())?;
    for turn in 0.. {
        ensure!(sent < MOST, "{sent} bytes were taken");
        let frames: Vec<u8> = (turn * 100..(turn + 1) * 100).flat_map(flood).collect();
        match connection.write_all(&frames) {
            Ok(()) => sent += frames.len(),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => break,
            Err(error) => return Err(error).with_context(|| format!("after {sent} bytes")),
        }
    }
    Ok(sent)
}

#[test]
fn clients_that_flood_are_cut_off_while_others_are_served() -> Result<()> {
    Scene::play(|scene| {
        let (mut world, port) = world_with(scene, "protocol: HTTP")?;
        wait::until("the listener", || is_served(&port))?;
        let url = format!("http://{}/", port.address());
        let others = Load::get(url)
            .concurrency(4)
            .pause(Duration::from_millis(5))
            .requests(1_000_000)
            .start(&world.client)?;
        let before = world.envoy.process().memory()?;
        for (what, flood, counter) in floods() {
            let seen = |world: &crate::world::World| -> Result<u64> {
                Ok(world
                    .envoy
                    .stats(counter)?
                    .iter()
                    .filter(|(name, _)| !name.contains("admin"))
                    .map(|(_, n)| n)
                    .sum())
            };
            let count = seen(&world)?;
            let started = Instant::now();
            let sent = cut_off(&port, &flood).context(what)?;
            println!("{what}: cut off after at most {sent} bytes, {:?}", started.elapsed());
            ensure!(seen(&world)? > count, "{what}: {counter} has not counted it");
        }
        let grown = world.envoy.process().memory()?.saturating_sub(before) >> 20;
        println!("Envoy has {grown} MiB more in use");
        ensure!(grown < 64, "Envoy has {grown} MiB more in use");
        others.unharmed()
    })
}

/// Reads frames until the other side closes, or so many streams have ended. Gives how many were answered and how many refused.
fn ends(connection: &mut TcpStream, streams: usize) -> Result<(usize, usize)> {
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < streams {
        let mut header = [0; 9];
        if connection.read_exact(&mut header).is_err() {
            break;
        }
        let [a, b, c, kind, flags, ..] = header;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c]))?];
        connection.read_exact(&mut payload)?;
        match kind {
            HEADERS | DATA if flags & END_STREAM != 0 => answered += 1,
            RST_STREAM if payload == REFUSED_STREAM.to_be_bytes() => refused += 1,
            _ => {}
        }
    }
    Ok((answered, refused))
}

#[test]
fn a_connection_with_more_requests_than_it_may_have_is_refused_the_rest() -> Result<()> {
    const STREAMS: u32 = 20;
    Scene::play(|scene| {
        let (world, port) = world_with(scene, "protocol: HTTP, limits: {maxConcurrentStreams: 2}")?;
        wait::until("the listener", || is_served(&port))?;
        world.upstreams.answer_slowly("alpha", 200, 2_000)?;
        let before = world.upstreams.requests("alpha")?;
        let mut greedy = connect(&port)?;
        let requests = (0..STREAMS).flat_map(|n| frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &GET));
        let all: Vec<u8> =
            PREFACE.iter().copied().chain(frame(SETTINGS, 0, 0, &[])).chain(requests).collect();
        greedy.write_all(&all)?;
        is_served(&port).context("beside it")?;
        let (answered, refused) = ends(&mut greedy, usize::try_from(STREAMS)?)?;
        let asked = world.upstreams.requests("alpha")? - before;
        let told =
            format!("{answered} answered, {refused} refused of {STREAMS}; {asked} reached the upstream");
        println!("{told}");
        // Two at a time, and the one beside them. A machine that stands still for seconds lets a second pair in.
        ensure!(answered > 0 && refused > 0 && asked < u64::from(STREAMS / 2), "{told}");
        is_served(&port)
    })
}
