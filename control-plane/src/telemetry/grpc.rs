//! OTLP over gRPC with TLS. (Without, the exporters make their own connections.)

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use opentelemetry_http::HttpError;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};

use super::settings::Delivery;
use super::trust::Trust;

/// The connection to a collector whose endpoint is `https`, made when it is first needed; `None` for others. Must be called on a runtime.
pub(super) fn channel(
    delivery: &Delivery,
    trust: &Trust,
) -> Result<Option<Channel>, tonic::transport::Error> {
    let endpoint = delivery.endpoint.as_deref();
    let Some(endpoint) = endpoint.filter(|endpoint| endpoint.starts_with("https://")) else {
        return Ok(None);
    };
    let endpoint = Endpoint::from_shared(endpoint.to_owned())?.timeout(delivery.timeout);
    Ok(Some(endpoint.connect_with_connector_lazy(OverTls(trust.clone()))))
}

/// Makes connections.
struct OverTls(Trust);

impl Service<Uri> for OverTls {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, HttpError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let trust = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(trust.connect(&uri, Some(b"h2")).await?)) })
    }
}
