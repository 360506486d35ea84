//! Connections to the xDS port: accepted, counted, and through their TLS handshake.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use super::peer::Peer;
use crate::tls::ServerTls;

/// A client that has not finished its handshake by then is not one of ours.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// After an error of `accept`, which is mostly that there are no file descriptors: trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The source of connections.
#[derive(Debug)]
pub struct Incoming {
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    room: Arc<Semaphore>,
    handshakes: JoinSet<Option<Connection>>,
    full: bool,
}

impl Incoming {
    /// Accepts at most `limit` connections at a time, with TLS if there is some.
    pub fn new(listener: TcpListener, tls: Option<Arc<ServerTls>>, limit: usize) -> Self {
        let room = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Self { listener, tls, room, handshakes: JoinSet::new(), full: false }
    }

    /// Every connection, for ever.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Connection>> {
        stream::unfold(self, |mut incoming| async move {
            let connection = incoming.next().await;
            Some((Ok(connection), incoming))
        })
    }

    async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, address)) => {
                        if let Some(connection) = self.accepted(socket, address) {
                            return connection;
                        }
                    }
                    Err(error) => {
                        warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    /// The connection if it is ready now; otherwise it comes out of its handshake later, or not at all.
    fn accepted(&mut self, socket: TcpStream, address: SocketAddr) -> Option<Connection> {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            // Closed at once: another replica may have room. Said once until there is room again.
            if !std::mem::replace(&mut self.full, true) {
                warn!(peer = %address, "too many connections: more are closed until some end");
            }
            return None;
        };
        self.full = false;
        // Pushes are whole messages; waiting to fill packets only delays them. A socket that fails at this is gone.
        let _ = socket.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return Some(Connection { io: Io::Plain(socket), peer: Peer::plain(address), _permit: permit });
        };
        let acceptor = TlsAcceptor::from(tls.config());
        self.handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await {
                Ok(Ok(stream)) => {
                    let peer = Peer::authenticated(address, stream.get_ref().1);
                    Some(Connection { io: Io::Tls(Box::new(stream)), peer, _permit: permit })
                }
                Ok(Err(error)) => {
                    warn!(peer = %address, %error, "a TLS handshake failed");
                    None
                }
                Err(_) => {
                    debug!(peer = %address, "a TLS handshake took too long");
                    None
                }
            }
        });
        None
    }
}

/// One connection, and its place among those that may be open at a time.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(socket) => socket.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
