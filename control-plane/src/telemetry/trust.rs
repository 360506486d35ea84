//! TLS to a collector.

use std::path::Path;
use std::sync::Arc;

use http::Uri;
use opentelemetry_http::HttpError;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing::warn;

/// Who may vouch for a collector: whoever a file says, or else those whom the system trusts, who are looked up when they are first needed.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust(Arc<OnceCell<Arc<ClientConfig>>>);

impl Trust {
    /// Those whose certificates are in a PEM file, or why there are none.
    pub(super) fn in_file(path: &Path) -> Result<Self, String> {
        let certificates =
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = certificates.map_err(|error| format!("no certificates in PEM: {error}"))?;
        let (mut roots, found) = (RootCertStore::empty(), certificates.len());
        let (known, _) = roots.add_parsable_certificates(certificates);
        if known == 0 || known < found {
            return Err(format!("{found} certificates, of which {known} can be read"));
        }
        let config = config(roots).map_err(|error| error.to_string())?;
        Ok(Self(Arc::new(OnceCell::from(config))))
    }

    /// A connection to the host of a URI, who has proven to be it. `protocol` is what is spoken on it, if that has to be agreed.
    pub(super) async fn connect(
        &self,
        uri: &Uri,
        protocol: Option<&[u8]>,
    ) -> Result<TlsStream<TcpStream>, HttpError> {
        let trusted = self.0.get_or_try_init(async || tokio::task::spawn_blocking(of_system).await?).await?;
        let mut trusted = Arc::clone(trusted);
        if let Some(protocol) = protocol {
            Arc::make_mut(&mut trusted).alpn_protocols = vec![protocol.to_vec()];
        }
        let stream = TcpStream::connect(address(uri, 443)?).await?;
        let name = ServerName::try_from(address(uri, 443)?.0)?;
        Ok(TlsConnector::from(trusted).connect(name, stream).await?)
    }
}

/// The host, an IPv6 address without brackets, and the port of a URI.
pub(super) fn address(uri: &Uri, port: u16) -> Result<(String, u16), HttpError> {
    let host = uri.host().ok_or("the endpoint has no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((host, uri.port_u16().unwrap_or(port)))
}

fn of_system() -> Result<Arc<ClientConfig>, HttpError> {
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        warn!(%error, "some certificates of the system can't be read");
    }
    let mut roots = RootCertStore::empty();
    let (known, _) = roots.add_parsable_certificates(loaded.certs);
    if known == 0 {
        return Err("the system has no certificates to check the collector's against".into());
    }
    config(roots)
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, HttpError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots);
    Ok(Arc::new(builder.with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_nobody_to_trust() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        assert!(Trust::in_file(&file).is_err());
        for text in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).unwrap();
            assert!(Trust::in_file(&file).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_have_addresses() {
        let of = |uri: &str| address(&uri.parse().unwrap(), 443).unwrap();
        assert_eq!(of("https://[::1]:4317/v1"), ("::1".to_owned(), 4317));
        assert_eq!(of("https://collector"), ("collector".to_owned(), 443));
        assert!(address(&"/v1".parse().unwrap(), 443).is_err());
    }
}
