//! OTLP over HTTP: one request on a connection of its own every few seconds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing::warn;

/// Answers are empty but for errors.
const MAX_ANSWER: usize = 1 << 20;

/// Whom the system trusts, read when it is first needed.
type Trust = Arc<OnceCell<Arc<ClientConfig>>>;

/// Sends on the runtime, whatever thread asks: exporters have threads of their own, which know none.
#[derive(Debug, Clone)]
pub(super) struct OnRuntime {
    runtime: Handle,
    /// For a request and its answer.
    timeout: Duration,
    trust: Trust,
}

impl OnRuntime {
    pub(super) fn current() -> Self {
        Self { runtime: Handle::current(), timeout: Duration::MAX, trust: Trust::default() }
    }

    /// The same, with a time limit for a request and its answer.
    pub(super) fn within(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (limit, trust) = (self.timeout, Arc::clone(&self.trust));
        self.runtime.spawn(async move { timeout(limit, send(request, &trust)).await }).await??
    }
}

async fn send(mut request: Request<Bytes>, trust: &Trust) -> Result<Response<Bytes>, HttpError> {
    let authority = request.uri().authority().cloned().ok_or("the endpoint has no host")?;
    let is_tls = request.uri().scheme_str() == Some("https");
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    *request.uri_mut() = path.parse::<Uri>()?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    if is_tls {
        let trusted = trust.get_or_try_init(async || tokio::task::spawn_blocking(read_trust).await?).await?;
        let connector = TlsConnector::from(Arc::clone(trusted));
        exchange(connector.connect(ServerName::try_from(host)?, stream).await?, request).await
    } else {
        exchange(stream, request).await
    }
}

fn read_trust() -> Result<Arc<ClientConfig>, HttpError> {
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        warn!(%error, "some certificates of the system can't be read");
    }
    let mut roots = RootCertStore::empty();
    let (known, _) = roots.add_parsable_certificates(loaded.certs);
    if known == 0 {
        return Err("the system has no certificates to check the collector's against".into());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots);
    Ok(Arc::new(builder.with_no_client_auth()))
}

async fn exchange<S>(stream: S, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let asked = async {
        let response = sender.send_request(request.map(Full::new)).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    };
    // The connection's own error is the request's too.
    let driven = async {
        drop(connection.await);
        std::future::pending().await
    };
    tokio::select! {
        answer = asked => answer,
        never = driven => never,
    }
}
