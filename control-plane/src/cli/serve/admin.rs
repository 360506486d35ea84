//! The admin port: where it is and who may use it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::admin::{self, Admin, Protection};
use crate::discovery;
use crate::discovery::incoming::Incoming;
use crate::tls::{Files, Rotation, ServerTls};

/// Connections at a time: people, pipelines and Prometheus.
const MAX_CONNECTIONS: usize = 1024;

/// The flags of the admin port.
#[derive(Debug, clap::Args)]
pub(super) struct AdminPort {
    /// Where the admin API, /metrics, /healthz and /readyz are. Beyond this machine it asks for a token or a client certificate
    #[arg(id = "admin", long = "admin", value_name = "ADDRESS", default_value = "127.0.0.1:18001")]
    address: SocketAddr,
    /// Ask for one of the tokens in this file: one a line, alone or behind the name of whom it is for. Read again when it changes
    #[arg(id = "admin_token_file", long = "admin-token-file", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Serve the admin port with TLS: this certificate and those that vouch for it, in PEM
    #[arg(long = "admin-tls-cert", value_name = "F", requires = "admin_tls_key")]
    admin_tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long = "admin-tls-key", value_name = "F", requires = "admin_tls_cert")]
    admin_tls_key: Option<PathBuf>,
    /// Refuse clients of the admin port without a certificate that one of these vouches for, in PEM
    #[arg(long = "admin-client-ca", value_name = "F", requires = "admin_tls_cert")]
    admin_client_ca: Option<PathBuf>,
}

/// The port, open but not served yet.
#[derive(Debug)]
pub(super) struct Port {
    listener: TcpListener,
    tls: Option<(ServerTls, Rotation)>,
    protection: Protection,
}

impl AdminPort {
    /// Opens the port. Whatever is wrong with the flags or the files is said here.
    pub(super) async fn open(self) -> anyhow::Result<Port> {
        let Self { address, token_file, admin_tls_cert, admin_tls_key, admin_client_ca } = self;
        let has_client_ca = admin_client_ca.is_some();
        ensure!(
            address.ip().is_loopback() || token_file.is_some() || has_client_ca,
            "--admin {address} would let everybody beyond this machine change the documents; give --admin-token-file, or --admin-tls-cert, \
             --admin-tls-key and --admin-client-ca"
        );
        let tls = match (admin_tls_cert, admin_tls_key) {
            (Some(certificate), Some(key)) => {
                let files = Files { certificate, key, client_ca: admin_client_ca };
                Some(ServerTls::load(files).context("the admin port cannot be served with TLS")?)
            }
            (None, None) => None,
            _ => bail!("--admin-tls-cert and --admin-tls-key belong together"),
        };
        let protection = match token_file {
            Some(file) => Protection::tokens(file).context("--admin-token-file")?,
            None if has_client_ca => Protection::Certificates,
            None => Protection::Loopback,
        };
        if !address.ip().is_loopback() && tls.is_none() {
            warn!(%address, "the admin port is open beyond this machine without TLS: who can listen in learns the tokens");
        }
        let listener = TcpListener::bind(address).await.with_context(|| format!("--admin {address}"))?;
        Ok(Port { listener, tls, protection })
    }
}

impl Port {
    /// Serves the API until the shutdown has begun and everything that is open has ended.
    pub(super) fn serve(
        self,
        admin: Admin,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
        let asks_for = match (&self.protection, &self.tls) {
            (Protection::Loopback, _) => "nothing: it is reached from this machine only",
            (Protection::Tokens(_), _) => "a token",
            (Protection::Certificates, _) => "a client certificate",
        };
        let address = self.listener.local_addr()?;
        info!(%address, tls = self.tls.is_some(), asks_for, "serving admin");
        let shutdown = admin.shutdown.clone();
        let tls = self.tls.map(|(tls, rotation)| {
            let tls = Arc::new(tls);
            tasks.spawn(Arc::clone(&tls).watch(rotation, shutdown.clone()));
            tls
        });
        let incoming = Incoming::new(self.listener, tls, MAX_CONNECTIONS);
        let served = discovery::server()
            .add_routes(Routes::from(admin::router(admin, self.protection)))
            .serve_with_incoming_shutdown(incoming.into_stream(), shutdown.cancelled_owned());
        Ok(async { served.await.context("serving admin") })
    }
}
