//! Clients that behave badly, many of each kind, until they are dropped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use prost::Message as _;
use spillway_tests::xds_client::frame;
use spillway_tests::xds_client::message::{DELTA, DeltaRequest, DeltaResponse, Node, Status, type_url};
use spillway_tests::xds_client::{Connection, Event, Follower};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Between one bad connection's end and the next one: often, but the machine has other tests to run.
const PAUSE: Duration = Duration::from_millis(100);

/// All of them.
pub(super) struct Crowd {
    runtime: Runtime,
    tasks: JoinSet<()>,
    visit: Visit,
}

/// What one of them knows.
#[derive(Clone)]
pub(super) struct Visit {
    target: SocketAddr,
    acts: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Crowd {
    /// Nobody yet; all will go to this server.
    pub(super) fn new(target: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { runtime, tasks: JoinSet::new(), visit: Visit { target, acts: Arc::default() } })
    }

    /// So many more, each of which does this again whenever it is over, however it ends.
    pub(super) fn join<B>(&mut self, count: usize, behaviour: impl Fn(Visit) -> B + Clone + Send + 'static)
    where
        B: Future<Output = Result<()>> + Send,
    {
        for _ in 0..count {
            let (behaviour, visit) = (behaviour.clone(), self.visit.clone());
            let task = async move {
                loop {
                    // That the server throws such a client out is all right.
                    let _ = behaviour(visit.clone()).await;
                    tokio::time::sleep(PAUSE).await;
                }
            };
            self.tasks.spawn_on(task, self.runtime.handle());
        }
    }

    /// How often what has been done.
    pub(super) fn acts(&self) -> BTreeMap<&'static str, usize> {
        self.visit.acts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Visit {
    fn did(&self, act: &'static str) {
        *self.acts.lock().unwrap_or_else(PoisonError::into_inner).entry(act).or_insert(0) += 1;
    }

    /// A stream like an Envoy's.
    async fn subscribe(&self, node: &str) -> Result<(Connection, u32, Follower)> {
        let mut connection = Connection::open(self.target, None).await?;
        let stream = connection.call(DELTA, &[]);
        let mut follower = Follower::new(node, "edge");
        for request in follower.open() {
            connection.send(stream, &request);
        }
        Ok((connection, stream, follower))
    }

    async fn connect(&self) -> Result<TcpStream> {
        Ok(TcpStream::connect(self.target).await?)
    }
}

/// The next response.
async fn response(connection: &mut Connection) -> Result<DeltaResponse> {
    match connection.next().await?.context("the connection is closed")? {
        Event::Message(_, message) => Ok(DeltaResponse::decode(message)?),
        Event::Ended(_) => bail!("the stream is over"),
    }
}

/// Reads, and never answers.
pub(super) async fn never_acknowledges(visit: Visit) -> Result<()> {
    let (mut connection, _, _) = visit.subscribe("mute").await?;
    loop {
        response(&mut connection).await?;
        visit.did("left unanswered");
    }
}

/// Refuses everything, at length.
pub(super) async fn refuses_everything(visit: Visit) -> Result<()> {
    let (mut connection, stream, mut follower) = visit.subscribe("contrary").await?;
    loop {
        let response = response(&mut connection).await?;
        for mut request in follower.take(&response)? {
            if !request.nonce.is_empty() {
                let message = "no: ".to_owned() + &"because of the private key ".repeat(200);
                request.error = Some(Status { code: 13, message });
                visit.did("refused");
            }
            connection.send(stream, &request);
        }
    }
}

/// Answers each response again and again, and others that were never sent.
pub(super) async fn replays_nonces(visit: Visit) -> Result<()> {
    let (mut connection, stream, mut follower) = visit.subscribe("parrot").await?;
    let mut nonces = Vec::new();
    loop {
        let response = response(&mut connection).await?;
        for request in follower.take(&response)? {
            connection.send(stream, &request);
        }
        nonces.push(response.nonce.clone());
        let made_up = ["", "0", "18446744073709551616", "\u{1f99c}"].map(str::to_owned);
        for nonce in nonces.iter().rev().take(20).cloned().chain(made_up) {
            let type_url = response.type_url.clone();
            connection.send(stream, &DeltaRequest { type_url, nonce, ..DeltaRequest::default() });
        }
        visit.did("replayed");
    }
}

/// Subscribes to so many names that do not exist.
pub(super) async fn wants_names(visit: Visit, count: usize) -> Result<()> {
    let mut connection = Connection::open(visit.target, None).await?;
    let stream = connection.call(DELTA, &[]);
    let node = Node { id: "greedy".into(), cluster: "edge".into(), user_agent_name: "envoy".into() };
    let subscribe = (0..count).map(|number| format!("nothing-{number}")).collect();
    let request = DeltaRequest {
        node: Some(node),
        type_url: type_url::ENDPOINTS.into(),
        subscribe,
        ..DeltaRequest::default()
    };
    connection.send(stream, &request);
    let act = if count < 50_000 { "wanted many names" } else { "wanted too many names" };
    loop {
        match connection.next().await?.context("the connection is closed")? {
            Event::Message(..) => visit.did(act),
            Event::Ended(_) => {
                visit.did(act);
                return Ok(());
            }
        }
    }
}

/// Sends a message that is none.
pub(super) async fn sends_no_protobuf(visit: Visit) -> Result<()> {
    let mut connection = Connection::open(visit.target, None).await?;
    let stream = connection.call(DELTA, &[]);
    connection.send_bytes(stream, &[0, 0, 0, 0, 200]);
    connection.send_bytes(stream, &noise(200));
    while let Some(Event::Message(..)) = connection.next().await? {}
    visit.did("sent no protobuf");
    Ok(())
}

/// Announces a message of four gigabytes.
pub(super) async fn announces_too_much(visit: Visit) -> Result<()> {
    let mut connection = Connection::open(visit.target, None).await?;
    let stream = connection.call(DELTA, &[]);
    connection.send_bytes(stream, &[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    while let Some(Event::Message(..)) = connection.next().await? {}
    visit.did("announced too much");
    Ok(())
}

/// Sends bytes that are no HTTP.
pub(super) async fn sends_noise(visit: Visit) -> Result<()> {
    let mut socket = visit.connect().await?;
    let _ = socket.write_all(&noise(64 * 1024)).await;
    while socket.read(&mut [0; 1_024]).await? > 0 {}
    visit.did("sent noise");
    Ok(())
}

/// Sends a preface and frames that are none.
pub(super) async fn sends_no_frames(visit: Visit) -> Result<()> {
    let mut socket = visit.connect().await?;
    socket.write_all(frame::PREFACE).await?;
    let _ = socket.write_all(&noise(64 * 1024)).await;
    while socket.read(&mut [0; 1_024]).await? > 0 {}
    visit.did("sent no frames");
    Ok(())
}

/// Connects, says nothing or half a word, and stays.
pub(super) async fn says_nothing(visit: Visit) -> Result<()> {
    let mut silent = visit.connect().await?;
    let mut stuck = visit.connect().await?;
    stuck.write_all(frame::PREFACE.get(..10).unwrap_or_default()).await?;
    visit.did("said nothing");
    let (mut one, mut other) = ([0], [0]);
    let _ = tokio::join!(silent.read(&mut one), stuck.read(&mut other));
    Ok(())
}

/// Opens a thousand streams on one connection.
pub(super) async fn opens_many_streams(visit: Visit) -> Result<()> {
    let mut connection = Connection::open(visit.target, None).await?;
    for number in 0..1_000 {
        let stream = connection.call(DELTA, &[]);
        for request in Follower::new(&format!("many-{number}"), "edge").open() {
            connection.send(stream, &request);
        }
    }
    visit.did("opened many streams");
    while connection.next().await?.is_some() {}
    Ok(())
}

/// Sends a header of a megabyte.
pub(super) async fn sends_a_huge_header(visit: Visit) -> Result<()> {
    let mut connection = Connection::open(visit.target, None).await?;
    connection.call(DELTA, &[("x-huge", &"x".repeat(1 << 20))]);
    let ended = connection.next().await;
    visit.did("sent a huge header");
    ended.map(drop)
}

/// Sends headers that never end.
pub(super) async fn sends_endless_headers(visit: Visit) -> Result<()> {
    let mut socket = visit.connect().await?;
    socket.write_all(frame::PREFACE).await?;
    // Settings (4) without any; headers (1) on stream 1, and continuations (9), none of which is the last.
    socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
    let header = [&[0, 1, b'x', 0x7f, 0x81, 0x7e][..], &[b'y'; 16_256]].concat();
    let length = u32::try_from(header.len())?.to_be_bytes();
    let mut kind = 1;
    for _ in 0..1_024 {
        let head = [&length[1..], &[kind, 0, 0, 0, 0, 1]].concat();
        let sent = async {
            socket.write_all(&head).await?;
            socket.write_all(&header).await
        };
        if sent.await.is_err() {
            visit.did("sent endless headers");
            return Ok(());
        }
        kind = 9;
    }
    visit.did("sent endless headers");
    while socket.read(&mut [0; 1_024]).await? > 0 {}
    Ok(())
}

/// Asks and asks and reads no answer.
pub(super) async fn reads_nothing(visit: Visit) -> Result<()> {
    let (mut connection, stream, _) = visit.subscribe("deaf").await?;
    connection.stop_reading();
    let names: Vec<_> = (0..100).map(|number| format!("nothing-{number}")).collect();
    for _ in 0..1_000 {
        for (subscribe, unsubscribe) in [(names.clone(), Vec::new()), (Vec::new(), names.clone())] {
            let type_url = type_url::ENDPOINTS.to_owned();
            connection
                .send(stream, &DeltaRequest { type_url, subscribe, unsubscribe, ..DeltaRequest::default() });
        }
        connection.write()?;
        visit.did("read nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::future::pending().await
}

/// Bytes without a pattern that a parser could like, the same each time (xorshift).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(&mut next).take(count).collect()
}
