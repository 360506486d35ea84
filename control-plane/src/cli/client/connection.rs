//! One connection to the server, with TLS where its URL says https.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::cause;

/// An address that nobody answers at is not waited for longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is said of a URL that is none.
pub(super) const EXPECTED: &str = "expected a URL such as http://HOST:PORT";

/// Where to connect.
#[derive(Debug)]
pub(super) struct Target {
    url: String,
    authority: String,
    prefix: String,
    query: Option<String>,
    host: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Target {
    /// Reads a URL such as `https://spillway.example.com:18001` that was given with this flag.
    pub(super) fn new(
        flag: &str,
        url: &str,
        ca_file: Option<&Path>,
        identity: Option<(&Path, &Path)>,
    ) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{flag} {url}"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => bail!("{flag} {url}: {EXPECTED}"),
        };
        let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else {
            bail!("{flag} {url}: {EXPECTED}");
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if is_tls {
            let name = ServerName::try_from(host.clone()).with_context(|| format!("{flag} {url}"))?;
            Some((Arc::new(configuration(ca_file, identity)?), name))
        } else {
            None
        };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            authority: authority.as_str().to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            query: uri.query().map(str::to_owned),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            host,
            tls,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects; the error is for people.
    pub(super) async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let connect = async {
            let stream =
                TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| system(&error))?;
            // Small requests should not wait for company.
            let _ = stream.set_nodelay(true);
            match &self.tls {
                None => handshake(stream).await,
                Some((configuration, name)) => {
                    let connector = TlsConnector::from(Arc::clone(configuration));
                    handshake(connector.connect(name.clone(), stream).await.map_err(|e| cause(&e))?).await
                }
            }
        };
        timeout(CONNECT_TIMEOUT, connect)
            .await
            .unwrap_or_else(|_| Err(format!("no connection within {CONNECT_TIMEOUT:?}")))
    }
}

/// What people call it, without the number that Rust adds.
fn system(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| cause(&error))?;
    // Ends with the response's body, at the latest with the command's runtime. Its error is the request's too.
    tokio::spawn(async { drop(connection.await) });
    Ok(sender)
}

fn configuration(ca_file: Option<&Path>, identity: Option<(&Path, &Path)>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca_file {
        for certificate in certificates("--ca-file", file)? {
            roots.add(certificate).with_context(|| format!("--ca-file {}", file.display()))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        ensure!(!roots.is_empty(), "the system has no certificates to trust: name some with --ca-file");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("--cert", certificate)?;
            let private =
                PrivateKeyDer::from_pem_file(key).with_context(|| format!("--key {}", key.display()))?;
            builder.with_client_auth_cert(chain, private).context("--cert and --key")?
        }
    })
}

fn certificates(flag: &str, file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("{flag} {}", file.display()))?;
    ensure!(!certificates.is_empty(), "{flag} {}: there is no certificate in it", file.display());
    Ok(certificates)
}
