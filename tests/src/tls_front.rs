//! TLS in front of a server that has none.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::authority::Authority;

/// Takes connections over TLS and passes what is in them on, until it is dropped.
#[derive(Debug)]
pub struct TlsFront {
    port: u16,
    _runtime: Runtime,
}

impl TlsFront {
    /// In front of `server`, as `localhost`, with a certificate of this authority.
    pub fn start(authority: &Authority, server: SocketAddr) -> Result<Self> {
        authority.issue("front", "localhost")?;
        let certificate = CertificateDer::from_pem_file(authority.path("front.crt")?)?;
        let key = PrivateKeyDer::from_pem_file(authority.path("front.key")?)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = config.with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let port = listener.local_addr().context("no address")?.port();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                // Who breaks off is nobody's loss here: the test sees what arrives.
                tokio::spawn(async move {
                    let mut client = acceptor.accept(client).await?;
                    let mut server = TcpStream::connect(server).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Ok(Self { port, _runtime: runtime })
    }

    /// What clients that trust the authority are told.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}
