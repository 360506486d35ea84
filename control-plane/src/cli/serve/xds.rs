//! The xDS port: who may connect to it, how, and how many.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use axum::Router;
use spillway_policy::unit;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::cache::Cache;
use crate::discovery::clients::Clients;
use crate::discovery::incoming::Incoming;
use crate::discovery::shutdown::Shutdown;
use crate::discovery::{self, Context};
use crate::fleet::Fleets;
use crate::load::Loads;
use crate::tls::{Files, Rotation, ServerTls};

/// The flags of the xDS port.
#[derive(Debug, clap::Args)]
pub(super) struct Xds {
    /// Where Envoys connect
    #[arg(long = "xds", value_name = "ADDRESS", default_value = "127.0.0.1:18000")]
    address: SocketAddr,
    /// Serve xDS with TLS: this certificate and those that vouch for it, in PEM. A file that changes is used from the next connection on
    #[arg(long = "xds-tls-cert", value_name = "F", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long = "xds-tls-key", value_name = "F", requires = "certificate")]
    key: Option<PathBuf>,
    /// Refuse clients without a certificate that one of these vouches for, in PEM
    #[arg(long = "xds-client-ca", value_name = "F", requires = "certificate")]
    client_ca: Option<PathBuf>,
    /// Serve xDS beyond this machine without TLS: whoever reaches the port can read the configuration. Secrets are not served then
    #[arg(long = "xds-insecure")]
    insecure: bool,
    /// Streams that may be open at a time, and connections; more are refused
    #[arg(long = "xds-max-streams", value_name = "N", default_value_t = 20_000)]
    max_streams: usize,
    /// How long the end of all streams may be spread after the first signal, so that proxies do not all reconnect at once
    #[arg(long = "shutdown-grace", value_name = "DURATION", default_value = "10s")]
    shutdown_grace: unit::Duration,
    /// How often proxies report the load of their upstreams
    #[arg(long = "load-interval", value_name = "DURATION", default_value = "10s")]
    load_interval: unit::Duration,
}

/// The port, open but not served yet.
#[derive(Debug)]
pub(super) struct Port {
    listener: TcpListener,
    tls: Option<(ServerTls, Rotation)>,
    secrets: bool,
    /// How many streams, and connections, may be open at a time.
    pub(super) max_streams: usize,
    load_interval: Duration,
    /// The longest that the end of all streams may take.
    pub(super) grace: Duration,
}

impl Xds {
    /// Opens the port. Whatever is wrong with the flags or the files is said here.
    pub(super) async fn open(self) -> anyhow::Result<Port> {
        let Self { address, certificate, key, client_ca, insecure, .. } = self;
        let load_interval = self.load_interval.get();
        ensure!(!load_interval.is_zero(), "--load-interval must be longer than 0s");
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let files = Files { certificate, key, client_ca };
                Some(ServerTls::load(files).context("xDS cannot be served with TLS")?)
            }
            (None, None) => None,
            _ => bail!("--xds-tls-cert and --xds-tls-key belong together"),
        };
        let local = address.ip().is_loopback();
        ensure!(
            local || insecure || tls.is_some(),
            "--xds {address} would serve without TLS beyond this machine; give --xds-tls-cert and --xds-tls-key, or add --xds-insecure if \
             the network is trusted"
        );
        let listener = TcpListener::bind(address).await.with_context(|| format!("--xds {address}"))?;
        Ok(Port {
            listener,
            secrets: local || tls.is_some(),
            tls,
            max_streams: self.max_streams,
            load_interval,
            grace: self.shutdown_grace.get(),
        })
    }
}

impl Port {
    /// What the streams on it share.
    pub(super) fn context(&self, cache: &Arc<Cache>, fleets: &Fleets, begun: CancellationToken) -> Context {
        Context {
            cache: Arc::clone(cache),
            fleets: fleets.clone(),
            clients: Arc::new(Clients::new(self.max_streams)),
            loads: Arc::new(Loads::default()),
            load_interval: self.load_interval,
            secrets: self.secrets,
            shutdown: Shutdown { begun, grace: self.grace },
        }
    }

    /// Serves the services, and `more` beside them, until the shutdown has begun and everything that is open has ended.
    pub(super) fn serve(
        self,
        context: &Arc<Context>,
        more: Router,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
        let begun = context.shutdown.begun.clone();
        let tls = self.tls.is_some();
        info!(address = %self.listener.local_addr()?, tls, "serving xDS");
        if !self.secrets {
            warn!("the xDS port is open beyond this machine without TLS: secrets are not served");
        }
        let tls = self.tls.map(|(tls, rotation)| {
            let tls = Arc::new(tls);
            tasks.spawn(Arc::clone(&tls).watch(rotation, begun.clone()));
            tls
        });
        let incoming = Incoming::new(self.listener, tls, self.max_streams);
        let routes = Routes::from(discovery::routes(context).merge(more));
        let served = discovery::server()
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming.into_stream(), begun.cancelled_owned());
        Ok(async { served.await.context("serving xDS") })
    }
}
