//! TLS of the xDS port: a certificate, its key and the authority of client certificates, from files that may be replaced at any time.
//!
//! The files are read every second and compared by content, because what replaces them differs: an editor, a `mv`, a directory whose
//! links a cluster switches. Files that don't fit together (the new certificate is there, its key not yet) change nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::looks::Looks;

/// Where certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate and those that vouch for it, PEM.
    pub certificate: PathBuf,
    /// The certificate's key, PEM.
    pub key: PathBuf,
    /// Who vouches for clients, PEM. With it a client without a certificate is refused.
    pub client_ca: Option<PathBuf>,
}

/// TLS can't be offered with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file is no PEM, or has nothing of what is needed.
    #[error("{}: expected {expected} in PEM", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is wrong, if it is not merely missing.
        source: Option<pem::Error>,
    },
    /// A certificate that no client could be checked with.
    #[error("{}: no certificates that could vouch for clients", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ClientCaError,
    },
    /// The certificate and the key don't belong together, or can't be used.
    #[error("{} and {}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// What is wrong with the authority of client certificates.
#[derive(Debug, thiserror::Error)]
pub enum ClientCaError {
    /// With one of them.
    #[error(transparent)]
    Certificate(#[from] rustls::Error),
    /// With all of them together.
    #[error(transparent)]
    Verifier(#[from] VerifierBuilderError),
}

/// What the files contain.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Material {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// TLS for a server, with the newest certificates that are good.
#[derive(Debug)]
pub struct ServerTls {
    files: Files,
    config: ArcSwap<ServerConfig>,
}

impl ServerTls {
    /// Reads the files for the first time.
    pub fn load(files: Files) -> Result<(Self, Rotation), TlsError> {
        let material = Material::read(&files)?;
        let config = material.config(&files)?;
        let rotation = Rotation { in_force: material, seen: None };
        Ok((Self { files, config: ArcSwap::from_pointee(config) }, rotation))
    }

    /// For the next connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Puts new files into force until `stop`. Connections that are open stay as they are.
    pub async fn watch(self: Arc<Self>, mut rotation: Rotation, stop: CancellationToken) {
        let mut looks = Looks::until(stop);
        while looks.next().await {
            let tls = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || {
                let outcome = tls.look(&mut rotation);
                (rotation, outcome)
            });
            let Ok((returned, outcome)) = looked.await else { return };
            rotation = returned;
            match outcome {
                Ok(true) => {
                    info!(certificate = %self.files.certificate.display(), "new certificates are in force");
                }
                Ok(false) => {}
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    error!(
                        error = format!("{error:#}"),
                        "new certificates can't be used: the old ones stay in force"
                    );
                }
            }
        }
    }

    /// Looks at the files once: `true` if what is in them is in force from now on and was not before. An error is reported once, and
    /// only when it has lasted from one look to the next: files are not all replaced in the same instant.
    fn look(&self, rotation: &mut Rotation) -> Result<bool, TlsError> {
        let read = Material::read(&self.files);
        if read.as_ref().is_ok_and(|material| *material == rotation.in_force) {
            rotation.seen = None;
            return Ok(false);
        }
        match read.map(|material| (material.config(&self.files), material)) {
            Ok((Ok(config), material)) => {
                self.config.store(Arc::new(config));
                *rotation = Rotation { in_force: material, seen: None };
                Ok(true)
            }
            Ok((Err(error), material)) => rotation.report(Some(material), error),
            Err(error) => rotation.report(None, error),
        }
    }
}

/// What is known about the files.
#[derive(Debug)]
pub struct Rotation {
    in_force: Material,
    /// What could not be used when it was looked at last, how often that was so, and whether it could be read at all.
    seen: Option<(Option<Material>, u32)>,
}

impl Rotation {
    fn report(&mut self, material: Option<Material>, error: TlsError) -> Result<bool, TlsError> {
        let times = match self.seen.take() {
            Some((last, times)) if last == material => times.saturating_add(1),
            _ => 1,
        };
        self.seen = Some((material, times));
        if times == 2 { Err(error) } else { Ok(false) }
    }
}

impl Material {
    fn read(files: &Files) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn config(&self, files: &Files) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| TlsError::NotPem {
            path: files.key.clone(),
            expected: "a private key",
            source: (!matches!(error, pem::Error::NoItemsFound)).then_some(error),
        })?;
        let unusable = |source| TlsError::Unusable {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(text), Some(path)) => {
                let verifier = client_verifier(text, path, provider)?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(text: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::NotPem { path: path.to_owned(), expected: "a certificate", source };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let certificates = read.map_err(|error| wrong(Some(error)))?;
    if certificates.is_empty() { Err(wrong(None)) } else { Ok(certificates) }
}

fn client_verifier(
    text: &[u8],
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let wrong = |source: ClientCaError| TlsError::ClientCa { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text, path)? {
        roots.add(certificate).map_err(|error| wrong(error.into()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| wrong(error.into()))
}

#[cfg(test)]
mod tests;
