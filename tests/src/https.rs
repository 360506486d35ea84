//! An HTTPS client that says which name it asks for, shows a certificate or none, and tells which certificate it was shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::Client;

/// Nothing takes longer unless something is wrong.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A client that trusts one authority.
#[derive(Debug, Clone)]
pub struct Https {
    client: Client,
    config: Arc<ClientConfig>,
    address: SocketAddr,
    name: String,
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    name: String,
    /// The certificate that the server has shown, in DER.
    pub certificate: Vec<u8>,
    sender: Sender,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers that can be read as text.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Https {
    /// A client of one address that asks for `name` and trusts the certificates in a file.
    pub fn new(client: &Client, address: SocketAddr, name: &str, ca: &Path) -> Result<Self> {
        Self::with(client, address, name, ca, None)
    }

    /// The same with a certificate of its own, from these two files.
    pub fn known(
        client: &Client,
        address: SocketAddr,
        name: &str,
        ca: &Path,
        certificate: &Path,
        key: &Path,
    ) -> Result<Self> {
        Self::with(client, address, name, ca, Some((certificate, key)))
    }

    fn with(
        client: &Client,
        address: SocketAddr,
        name: &str,
        ca: &Path,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(certificates(certificate)?, PrivateKeyDer::from_pem_file(key)?)?,
        };
        let client = client.clone();
        Ok(Self { client, config: Arc::new(config), address, name: name.to_owned() })
    }

    /// The same client, offering these protocols by ALPN. HTTP/1.1 is spoken where the server chooses none.
    #[must_use]
    pub fn offering(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config), ..self.clone() }
    }

    /// The same client, asking for another name.
    #[must_use]
    pub fn asking(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// Opens a connection.
    pub fn connect(&self) -> Result<Connection> {
        self.client.runtime.block_on(self.open())
    }

    /// GET on a new connection.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Reply> {
        self.connect()?.get(path, headers)
    }

    async fn open(&self) -> Result<Connection> {
        tokio::time::timeout(TIMEOUT, self.open_at_last()).await.context("no connection in time")?
    }

    async fn open_at_last(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.address).await.context("no connection")?;
        let name = ServerName::try_from(self.name.clone())?;
        let stream =
            TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await.context("no TLS")?;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.context("no certificate")?.to_vec();
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let stream = TokioIo::new(stream);
        let sender = if is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(stream).await?;
            tokio::spawn(connection);
            Sender::Http1(sender)
        };
        Ok(Connection { client: self.client.clone(), name: self.name.clone(), certificate, sender })
    }

    /// Requests without an end: on so many connections that stay open, and as many that are opened anew for each request.
    pub fn load(&self, path: &str, connections: usize) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let mut senders = JoinSet::new();
        for number in 0..2 * connections {
            let keep = number < connections;
            let (https, path) = (self.clone(), path.to_owned());
            let (stop, tally) = (Arc::clone(&stop), Arc::clone(&tally));
            let task = async move { https.send_until(&stop, &tally, &path, keep).await };
            senders.spawn_on(task, self.client.runtime.handle());
        }
        Running { client: self.client.clone(), stop, tally, senders }
    }

    async fn send_until(&self, stop: &AtomicBool, tally: &Mutex<Tally>, path: &str, keep: bool) {
        let count = |outcome: Result<()>| {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(()) => tally.served += 1,
                Err(error) => *tally.failures.entry(format!("{error:#}")).or_insert(0) += 1,
            }
        };
        let mut open = None;
        while !stop.load(Ordering::Relaxed) {
            let outcome = async {
                let mut connection = match open.take() {
                    Some(connection) => connection,
                    None => self.open().await?,
                };
                let reply = connection.exchange(path, &[]).await?;
                ensure!(reply.status == 200, "{}", reply.status);
                if keep {
                    open = Some(connection);
                }
                Ok(())
            };
            count(outcome.await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Connection {
    /// Whether HTTP/2 is spoken on it.
    pub fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// GET.
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Reply> {
        let client = self.client.clone();
        client.runtime.block_on(self.exchange(path, headers))
    }

    async fn exchange(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Reply> {
        tokio::time::timeout(TIMEOUT, self.exchange_at_last(path, headers))
            .await
            .context("no answer in time")?
    }

    async fn exchange_at_last(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Reply> {
        let mut request = hyper::Request::get(path);
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                request = request.header("host", &self.name);
                let request =
                    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
                sender.ready().await?;
                sender.send_request(request.body(Empty::new())?).await?
            }
            Sender::Http2(sender) => {
                request = hyper::Request::get(format!("https://{}{path}", self.name));
                let request =
                    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
                sender.ready().await?;
                sender.send_request(request.body(Empty::new())?).await?
            }
        };
        let status = response.status().as_u16();
        let readable = response
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let headers = readable.collect();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// What became of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered with 200.
    pub served: usize,
    /// Everything else, by what was wrong.
    pub failures: BTreeMap<String, usize>,
}

/// Load that goes on.
#[derive(Debug)]
pub struct Running {
    client: Client,
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    senders: JoinSet<()>,
}

impl Running {
    /// What became of requests so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, and says what became of all requests.
    pub fn finish(mut self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.client.runtime.block_on(async {
            let all = async { while self.senders.join_next().await.is_some() {} };
            tokio::time::timeout(2 * TIMEOUT, all).await
        });
        if ended.is_err() {
            bail!("the load does not end");
        }
        Ok(self.tally())
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).with_context(|| path.display().to_string())?;
    Ok(read.collect::<Result<_, _>>()?)
}
