//! OTLP over HTTP: one request on a connection of its own every few seconds.

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
use tokio::time::timeout;

use super::trust::{Trust, address};

/// Answers are empty but for errors.
const MAX_ANSWER: usize = 1 << 20;

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

    /// The same, with a time limit for a request and its answer, and somebody to trust.
    pub(super) fn within(&self, timeout: Duration, trust: &Trust) -> Self {
        Self { timeout, trust: trust.clone(), ..self.clone() }
    }
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (limit, trust) = (self.timeout, self.trust.clone());
        self.runtime.spawn(async move { timeout(limit, send(request, &trust)).await }).await??
    }
}

async fn send(mut request: Request<Bytes>, trust: &Trust) -> Result<Response<Bytes>, HttpError> {
    let uri = request.uri().clone();
    let authority = uri.authority().ok_or("the endpoint has no host")?;
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() = path.parse::<Uri>()?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if uri.scheme_str() == Some("https") {
        exchange(trust.connect(&uri, None).await?, request).await
    } else {
        exchange(TcpStream::connect(address(&uri, 80)?).await?, request).await
    }
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
