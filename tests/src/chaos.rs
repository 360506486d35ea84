//! A bad network between a client and a server: a TCP proxy that stalls, resets, closes halves and delivers byte by byte, when it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::ports::Port;

/// Carried over at once.
const CHUNK: usize = 16 * 1024;

/// How bytes are carried from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As they come.
    Free,
    /// Not at all; nobody is told.
    Stalled,
    /// One by one.
    ByteByByte,
}

/// A proxy in front of one server.
#[derive(Debug)]
pub struct Chaos {
    port: Port,
    controls: Arc<Controls>,
    /// Holds the tasks, and ends them when it is dropped.
    _runtime: Runtime,
}

#[derive(Debug)]
struct Controls {
    target: SocketAddr,
    pace: watch::Sender<Pace>,
    /// These count how often something was asked for.
    resets: watch::Sender<u64>,
    answers_cut: watch::Sender<u64>,
    requests_cut: watch::Sender<u64>,
    connections: AtomicUsize,
}

impl Chaos {
    /// Listens, and carries every connection to `target`.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let port = Port::free()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener =
            runtime.block_on(TcpListener::bind(port.address())).context("the chaos proxy's port")?;
        let controls = Arc::new(Controls {
            target,
            pace: watch::Sender::new(Pace::Free),
            resets: watch::Sender::new(0),
            answers_cut: watch::Sender::new(0),
            requests_cut: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
        });
        runtime.spawn(accept(listener, Arc::clone(&controls)));
        Ok(Self { port, controls, _runtime: runtime })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Connections that have been accepted so far.
    pub fn connections(&self) -> usize {
        self.controls.connections.load(Ordering::SeqCst)
    }

    /// Changes the pace of all connections.
    pub fn carry(&self, pace: Pace) {
        self.controls.pace.send_replace(pace);
    }

    /// Resets all connections, at both ends.
    pub fn reset(&self) {
        self.controls.resets.send_modify(|count| *count += 1);
    }

    /// Tells the client that the server has nothing more to say, on all connections; what the client says is still carried.
    pub fn cut_answers(&self) {
        self.controls.answers_cut.send_modify(|count| *count += 1);
    }

    /// Tells the server that the client has nothing more to say, on all connections; what the server says is still carried.
    pub fn cut_requests(&self) {
        self.controls.requests_cut.send_modify(|count| *count += 1);
    }
}

async fn accept(listener: TcpListener, controls: Arc<Controls>) {
    while let Ok((client, _)) = listener.accept().await {
        controls.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(carry(client, Arc::clone(&controls)));
    }
}

async fn carry(mut client: TcpStream, controls: Arc<Controls>) {
    // Before the server knows of the connection, so that whoever has seen that one can rely on what he asks for being done to it.
    let mut resets = controls.resets.subscribe();
    let (requests_cut, answers_cut) = (controls.requests_cut.subscribe(), controls.answers_cut.subscribe());
    let Ok(mut server) = TcpStream::connect(controls.target).await else {
        // The client finds what it would have found without a proxy: a connection that does not stand.
        let _ = client.set_zero_linger();
        return;
    };
    // A byte that is carried alone shall arrive alone. Fails only on connections that are gone already.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let both = async {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::join!(
            copy(from_client, to_server, controls.pace.subscribe(), requests_cut),
            copy(from_server, to_client, controls.pace.subscribe(), answers_cut),
        )
    };
    let reset = tokio::select! {
        ended = both => ended.0.is_err() || ended.1.is_err(),
        changed = resets.changed() => changed.is_ok(),
    };
    if reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Carries one direction until its end, or until it is cut.
async fn copy(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut pace: watch::Receiver<Pace>,
    mut cut: watch::Receiver<u64>,
) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let now = *pace.borrow_and_update();
        tokio::select! {
            count = from.read(&mut chunk), if now != Pace::Stalled => {
                let carried = chunk.get(..count?).unwrap_or_default();
                if carried.is_empty() {
                    return Ok(to.shutdown().await?);
                }
                match now {
                    Pace::ByteByByte => for byte in carried {
                        to.write_all(&[*byte]).await?;
                        tokio::task::yield_now().await;
                    },
                    Pace::Free | Pace::Stalled => to.write_all(carried).await?,
                }
            }
            changed = pace.changed() => changed?,
            changed = cut.changed() => {
                changed?;
                to.shutdown().await?;
                // Read all the same, so that the sender is not held up by a full window.
                while from.read(&mut chunk).await? > 0 {}
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::time::Duration;

    use super::*;

    /// A connection through a proxy, and its other end.
    fn pair() -> (Chaos, std::net::TcpStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let chaos = Chaos::start(listener.local_addr().unwrap()).unwrap();
        let client = std::net::TcpStream::connect(chaos.address()).unwrap();
        let (server, _) = listener.accept().unwrap();
        for end in [&client, &server] {
            end.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        }
        (chaos, client, server)
    }

    fn said(from: &mut std::net::TcpStream, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        from.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn bytes_are_carried_at_every_pace_but_none() {
        let (chaos, mut client, mut server) = pair();
        for pace in [Pace::Free, Pace::ByteByByte] {
            chaos.carry(pace);
            client.write_all(b"question").unwrap();
            assert_eq!(said(&mut server, 8), b"question");
            server.write_all(b"answer").unwrap();
            assert_eq!(said(&mut client, 6), b"answer");
        }
        chaos.carry(Pace::Stalled);
        // What is under way when the pace changes may still arrive; what comes later may not.
        std::thread::sleep(Duration::from_millis(50));
        client.write_all(b"late").unwrap();
        server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let error = server.read(&mut [0; 4]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        chaos.carry(Pace::Free);
        server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(said(&mut server, 4), b"late");
    }

    #[test]
    fn a_cut_direction_leaves_the_other() {
        let (chaos, mut client, mut server) = pair();
        chaos.cut_answers();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        client.write_all(b"still").unwrap();
        assert_eq!(said(&mut server, 5).len(), 5);

        let (chaos, mut client, mut server) = pair();
        chaos.cut_requests();
        assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
        server.write_all(b"still").unwrap();
        assert_eq!(said(&mut client, 5), b"still");
    }

    #[test]
    fn a_reset_reaches_both_ends() {
        let (chaos, mut client, mut server) = pair();
        client.write_all(b"x").unwrap();
        said(&mut server, 1);
        chaos.reset();
        for end in [&mut client, &mut server] {
            assert_eq!(end.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(chaos.connections(), 1);
    }
}
