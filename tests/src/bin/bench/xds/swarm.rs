//! Many clients at once: each connection is one small task, and most of the time all of them sleep.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use prost::Message as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spillway_tests::wait;
use spillway_tests::xds_client::message::{DELTA, DeltaResponse, LoadAssignment, type_url};
use spillway_tests::xds_client::{Connection, Event, Follower};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::board::Board;

/// The endpoint whose port is the number of the last edit (TEST-NET-1, RFC 5737).
pub(super) const MARKER: &str = "192.0.2.1";

/// Connections from one local address; a machine has 28,232 ports for each by default.
const CONNECTIONS_FROM_ONE_ADDRESS: usize = 20_000;

/// Connections that are being opened at any time. A fleet that starts at once is not more polite, but the kernel's queue of connections
/// that nobody has accepted yet is short, and what falls out of it waits a second.
const OPENING: usize = 512;

/// How long all streams may take for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Which clients, and where.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) target: SocketAddr,
    pub(super) fleet: String,
    pub(super) streams: usize,
    pub(super) streams_per_connection: usize,
}

/// What a stream has to have acknowledged to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Everything that it has heard of.
    Everything,
    /// A new version of something of this kind.
    Kind(&'static str),
    /// The edit with this number.
    Sequence(usize),
}

/// Clients that follow a server.
#[derive(Debug)]
pub(super) struct Swarm {
    runtime: Runtime,
    shared: Arc<Shared>,
    /// How often all of them have been told to connect anew.
    generation: watch::Sender<u64>,
    goal: watch::Sender<Goal>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    board: Board,
    opening: Semaphore,
}

/// One connection's clients.
struct Member {
    index: usize,
    follower: Follower,
}

impl Swarm {
    /// Starts all clients; they connect as fast as they can.
    pub(super) fn start(plan: Plan) -> Result<Self> {
        allow_sockets(plan.streams.div_ceil(plan.streams_per_connection))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let shared =
            Arc::new(Shared { board: Board::new(plan.streams), opening: Semaphore::new(OPENING), plan });
        let (generation, goal) = (watch::Sender::new(0), watch::Sender::new(Goal::Everything));
        let mut tasks = JoinSet::new();
        let indexes: Vec<_> = (0..shared.plan.streams).collect();
        for (connection, indexes) in indexes.chunks(shared.plan.streams_per_connection).enumerate() {
            let fleet = &shared.plan.fleet;
            let members: Vec<_> = indexes
                .iter()
                .map(|&index| Member { index, follower: Follower::new(&format!("swarm-{index}"), fleet) })
                .collect();
            let from = source(shared.plan.target, connection);
            let task = follow(Arc::clone(&shared), from, members, generation.subscribe(), goal.subscribe());
            tasks.spawn_on(task, runtime.handle());
        }
        Ok(Self { runtime, shared, generation, goal, tasks })
    }

    pub(super) fn board(&self) -> &Board {
        &self.shared.board
    }

    pub(super) fn streams(&self) -> usize {
        self.shared.plan.streams
    }

    /// From now on counts streams that reach this; gives the time from which to count.
    pub(super) fn aim(&self, goal: Goal) -> Instant {
        self.goal.send_replace(goal);
        self.board().reset()
    }

    /// Closes all connections and opens new ones, on which the clients name what they hold.
    pub(super) fn reconnect(&self, goal: Goal) -> Instant {
        let from = self.aim(goal);
        self.generation.send_modify(|generation| *generation += 1);
        from
    }

    /// Waits until all streams have reached the goal.
    pub(super) fn wait(&mut self, what: &str) -> Result<()> {
        while let Some(ended) = self.tasks.try_join_next() {
            ended.context("a client broke")?;
        }
        wait::until_within(PATIENCE, what, || {
            let (reached, all) = (self.board().reached(), self.streams());
            let failures = self.board().failures.load(Ordering::Relaxed);
            ensure!(reached >= all, "{reached} of {all} streams have, and {failures} connections failed");
            Ok(())
        })
    }

    /// Waits until nothing has been received for a while.
    pub(super) fn settle(&self) -> Result<()> {
        const QUIET: Duration = Duration::from_millis(1_500);
        let mut last = (0, Instant::now());
        wait::until_within(PATIENCE, "the end of pushes", || {
            let responses = self.board().responses.load(Ordering::Relaxed);
            if responses != last.0 {
                last = (responses, Instant::now());
            }
            ensure!(last.1.elapsed() >= QUIET, "responses still arrive");
            Ok(())
        })
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.tasks.abort_all();
        // The sockets are closed when the tasks are gone, and the next measurement shall not find them.
        while self.runtime.block_on(self.tasks.join_next()).is_some() {}
    }
}

/// A socket for each connection, and some for everything else.
pub(super) fn allow_sockets(connections: usize) -> Result<()> {
    let needed = u64::try_from(connections)? + 256;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let maximum = limit.maximum.map(|maximum| maximum.max(needed));
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).with_context(|| {
            format!(
                "{needed} open files are not allowed: raise the limit (ulimit -n) or ask for fewer --streams"
            )
        })?;
    }
    Ok(())
}

/// The local address of a connection, where the usual one has no ports left: this machine has more of them.
fn source(target: SocketAddr, connection: usize) -> Option<IpAddr> {
    let block = u8::try_from(connection / CONNECTIONS_FROM_ONE_ADDRESS).ok()?;
    (block > 0 && target.ip() == Ipv4Addr::LOCALHOST).then(|| Ipv4Addr::new(127, 0, block, 1).into())
}

async fn follow(
    shared: Arc<Shared>,
    from: Option<IpAddr>,
    mut members: Vec<Member>,
    mut generation: watch::Receiver<u64>,
    goal: watch::Receiver<Goal>,
) {
    loop {
        generation.mark_unchanged();
        tokio::select! {
            ended = connected(&shared, from, &mut members, &goal) => {
                if ended.is_err() {
                    shared.board.failures.fetch_add(1, Ordering::Relaxed);
                    // What Envoy's bootstrap waits at first.
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
            changed = generation.changed() => if changed.is_err() { return },
        }
    }
}

/// Follows on one connection until it ends, which is an error.
async fn connected(
    shared: &Shared,
    from: Option<IpAddr>,
    members: &mut [Member],
    goal: &watch::Receiver<Goal>,
) -> Result<()> {
    let permit = shared.opening.acquire().await?;
    let mut connection = Connection::open(shared.plan.target, from).await?;
    let mut streams = BTreeMap::new();
    for member in members {
        let stream = connection.call(DELTA, &[]);
        for request in member.follower.open() {
            connection.send(stream, &request);
        }
        streams.insert(stream, member);
    }
    let mut permit = Some(permit);
    while let Some(event) = connection.next().await? {
        permit.take();
        let (Event::Message(stream, _) | Event::Ended(stream)) = event;
        let member = streams.get_mut(&stream).context("a stream that nobody opened")?;
        let Event::Message(_, message) = event else { bail!("the server has ended a stream") };
        shared.board.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
        let response = DeltaResponse::decode(message)?;
        for request in member.follower.take(&response)? {
            connection.send(stream, &request);
        }
        connection.write()?;
        shared.note(member, &response, *goal.borrow());
    }
    bail!("the server has closed the connection")
}

impl Shared {
    /// Takes down what a response was that has just been acknowledged.
    fn note(&self, member: &Member, response: &DeltaResponse, goal: Goal) {
        self.board.responses.fetch_add(1, Ordering::Relaxed);
        match goal {
            Goal::Everything if member.follower.is_complete() => self.board.reach(member.index),
            Goal::Kind(kind) if response.type_url == kind => self.board.reach(member.index),
            Goal::Sequence(last) if response.type_url == type_url::ENDPOINTS => {
                for sequence in sequences(response) {
                    self.board.arrive(sequence);
                    if sequence == last {
                        self.board.reach(member.index);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The numbers of the edits that are in this response.
fn sequences(response: &DeltaResponse) -> Vec<usize> {
    let assignments = response.resources.iter().filter_map(|one| {
        let any = one.resource.as_ref()?;
        LoadAssignment::decode(any.value.clone()).ok()
    });
    let ports = assignments.flat_map(|one| one.ports_of(MARKER).collect::<Vec<_>>());
    ports.filter_map(|port| usize::try_from(port).ok()).collect()
}
