//! The load, of this program's own making: small bursts on connections that stay, so that variants take turns every few hundredths of a second.
//!
//! On a machine that does other things too, or shares its cores with other machines, a second is a long time: what is measured in one is not comparable with what is
//! measured in the next.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// What is sent and what is expected.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    path: String,
    statuses: Vec<u16>,
}

impl Exchange {
    pub(super) fn new(path: &str, statuses: &[u16]) -> Self {
        Self { path: path.to_owned(), statuses: statuses.to_vec() }
    }

    /// The request of a tenant.
    fn request(&self, tenant: &str) -> Vec<u8> {
        let path = &self.path;
        format!("GET {path} HTTP/1.1\r\nhost: bench\r\nx-tenant-id: {tenant}\r\n\r\n").into_bytes()
    }

    /// How long the first answer in these bytes is; `None` while it is not complete.
    fn answer(&self, bytes: &[u8]) -> Result<Option<usize>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
        let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        let expected = status.is_some_and(|status| self.statuses.contains(&status));
        ensure!(expected, "not answered with {:?}:\n{head}", self.statuses);
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let whole = end + 4 + length.with_context(|| format!("an answer without a length:\n{head}"))?;
        Ok((bytes.len() >= whole).then_some(whole))
    }
}

/// Connections that send one request after the other.
#[derive(Debug)]
pub(super) struct Senders {
    runtime: Runtime,
    address: SocketAddr,
    exchange: Exchange,
    idle: Vec<tokio::net::TcpStream>,
}

impl Senders {
    pub(super) fn connect(address: SocketAddr, exchange: &Exchange, connections: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let idle = runtime.block_on(async {
            let mut idle = Vec::new();
            for _ in 0..connections {
                let stream = tokio::net::TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                idle.push(stream);
            }
            anyhow::Ok(idle)
        })?;
        Ok(Self { runtime, address, exchange: exchange.clone(), idle })
    }

    /// Sends so many requests, as many at a time as there are connections, and waits for the last answer.
    pub(super) fn burst(&mut self, requests: usize) -> Result<()> {
        let request = self.exchange.request(TENANT);
        let exchange = self.exchange.clone();
        self.send(requests, &exchange, move |_| request.clone())
    }

    /// Sends a request for each of so many tenants; some may be rejected.
    pub(super) fn burst_of_tenants(&mut self, tenants: usize) -> Result<()> {
        let exchange = Exchange::new(&self.exchange.path, &[200, 429]);
        let template = exchange.clone();
        self.send(tenants, &exchange, move |number| template.request(&format!("tenant-{number}")))
    }

    fn send<R>(&mut self, requests: usize, exchange: &Exchange, request: R) -> Result<()>
    where
        R: Fn(usize) -> Vec<u8> + Clone + Send + 'static,
    {
        let connections = self.idle.len();
        let mut senders = JoinSet::new();
        for (first, mut stream) in self.idle.drain(..).enumerate() {
            let (exchange, request) = (exchange.clone(), request.clone());
            senders.spawn_on(
                async move {
                    let mut buffer = Vec::new();
                    for number in (first..requests).step_by(connections) {
                        stream.write_all(&request(number)).await?;
                        buffer.clear();
                        while exchange.answer(&buffer)?.is_none() {
                            ensure!(stream.read_buf(&mut buffer).await? > 0, "the connection was closed");
                        }
                    }
                    Ok(stream)
                },
                self.runtime.handle(),
            );
        }
        self.runtime.block_on(async {
            while let Some(stream) = senders.join_next().await {
                self.idle.push(stream??);
            }
            Ok(())
        })
    }

    /// Sends so many requests a second, whether or not earlier ones are answered, and gives the time of each from when it was due to its answer, in microseconds.
    pub(super) fn pace(&self, rate: u32, duration: Duration) -> Result<Vec<u64>> {
        let mut paced = Paced::connect(self.address, self.idle.len(), &self.exchange)?;
        // The timers of an operating system are too coarse for this, so it takes a core for itself.
        let (begin, interval) = (Instant::now(), Duration::from_secs(1) / rate.max(1));
        let mut next = begin;
        while next < begin + duration || paced.is_busy() {
            while next < begin + duration && next <= Instant::now() {
                paced.due.push_back(next);
                next += interval;
            }
            paced.send()?;
            paced.receive()?;
        }
        Ok(paced.micros)
    }
}

/// Requests at fixed times.
struct Paced<'e> {
    exchange: &'e Exchange,
    request: Vec<u8>,
    free: Vec<TcpStream>,
    busy: Vec<Busy>,
    /// Those that should have been sent.
    due: VecDeque<Instant>,
    micros: Vec<u64>,
}

/// A connection that waits for its answer.
struct Busy {
    stream: TcpStream,
    since: Instant,
    received: Vec<u8>,
}

impl<'e> Paced<'e> {
    fn connect(address: SocketAddr, connections: usize, exchange: &'e Exchange) -> Result<Self> {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            anyhow::Ok(stream)
        };
        let free = (0..connections).map(|_| connect()).collect::<Result<_>>()?;
        let request = exchange.request(TENANT);
        Ok(Self { exchange, request, free, busy: Vec::new(), due: VecDeque::new(), micros: Vec::new() })
    }

    fn is_busy(&self) -> bool {
        !self.busy.is_empty() || !self.due.is_empty()
    }

    fn send(&mut self) -> Result<()> {
        while !self.due.is_empty() {
            let Some(mut stream) = self.free.pop() else { return Ok(()) };
            // It fits into the socket's buffer, which is empty.
            stream.write_all(&self.request)?;
            let since = self.due.pop_front().unwrap_or_else(Instant::now);
            self.busy.push(Busy { stream, since, received: Vec::new() });
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        for mut busy in std::mem::take(&mut self.busy) {
            let mut bytes = [0; 4096];
            match busy.stream.read(&mut bytes) {
                Ok(0) => bail!("the connection was closed"),
                Ok(length) => busy.received.extend_from_slice(bytes.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if self.exchange.answer(&busy.received)?.is_some() {
                self.micros.push(u64::try_from(busy.since.elapsed().as_micros()).unwrap_or(u64::MAX));
                self.free.push(busy.stream);
            } else {
                self.busy.push(busy);
            }
        }
        Ok(())
    }
}

/// The tenant of most requests.
pub(super) const TENANT: &str = "acme";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let exchange = Exchange::new("/", &[200]);
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        for end in 0..whole.len() {
            assert_eq!(exchange.answer(whole.get(..end).unwrap()).unwrap(), None);
        }
        assert_eq!(exchange.answer(whole).unwrap(), Some(whole.len()));
        assert!(Exchange::new("/", &[429]).answer(whole).is_err());
    }
}
