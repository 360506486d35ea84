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
    let endpoint = Endpoint::from_shared(endpoint.to_owned())?;
    // The time of a request begins when there is a connection, which nothing else bounds.
    let endpoint = endpoint.timeout(delivery.timeout).connect_timeout(delivery.timeout);
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::TcpListener;
    use std::time::Duration;

    use tokio::time::timeout;
    use tonic::body::Body;

    use super::super::settings::Protocol;
    use super::*;

    #[tokio::test]
    async fn a_collector_that_never_says_who_it_is_is_not_waited_for() {
        // The system takes connections to it; nobody reads what comes.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let certified = rcgen::generate_simple_self_signed(["collector".to_owned()]).unwrap();
        std::fs::write(&file, certified.cert.pem()).unwrap();
        let delivery = Delivery {
            protocol: Protocol::Grpc,
            timeout: Duration::from_millis(100),
            endpoint: Some(format!("https://{}", silent.local_addr().unwrap())),
            trusted: None,
        };
        let mut channel = channel(&delivery, &Trust::in_file(&file).unwrap()).unwrap().unwrap();
        let answer = async {
            poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(http::Request::new(Body::empty())).await
        };
        assert!(timeout(Duration::from_secs(5), answer).await.expect("an end").is_err());
    }
}
