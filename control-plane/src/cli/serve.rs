//! `spillway serve`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use crate::cache::Cache;
use crate::discovery::{self, Context};
use crate::fleet::Fleets;
use crate::module::FilterModule;
use crate::refusal::Refusals;
use crate::snapshot::build::Builder;
use crate::snapshot::revision::Revisions;
use crate::store::{FileStore, LoadError};
use crate::{admin, publish};

/// How long streams and requests may take to end after the first signal.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the documents of a directory to fleets of Envoys, and every change as soon as it is valid.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The directory of documents. It has to be valid at the start; later, what is not valid is reported and nothing changes
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    /// Where to keep what must outlive this process. Without it, proxies are sent their filter configurations again after a restart
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where Envoys connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:18000")]
    xds: SocketAddr,
    /// Where /healthz and /readyz are
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:18001")]
    admin: SocketAddr,
    /// The Wasm module that proxies load, instead of the one in this binary
    #[arg(long, value_name = "FILE.wasm")]
    filter: Option<PathBuf>,
    /// Serve xDS beyond this machine without TLS: whoever reaches the port can read the configuration
    #[arg(long)]
    xds_insecure: bool,
    #[arg(long, hide = true, value_name = "F")]
    xds_tls_cert: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "F")]
    xds_tls_key: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "F")]
    xds_client_ca: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let unavailable = [
            ("--xds-tls-cert", &self.xds_tls_cert),
            ("--xds-tls-key", &self.xds_tls_key),
            ("--xds-client-ca", &self.xds_client_ca),
        ];
        if let Some((flag, _)) = unavailable.iter().find(|(_, value)| value.is_some()) {
            bail!("{flag} is not available yet");
        }
        ensure!(
            self.xds.ip().is_loopback() || self.xds_insecure,
            "--xds {} would serve without TLS beyond this machine; add --xds-insecure if the network is trusted",
            self.xds
        );
        let module = FilterModule::load(self.filter.as_deref())?;
        let revisions = match &self.state {
            Some(directory) => Revisions::kept_in(directory).context("--state")?,
            None => Revisions::default(),
        };
        log();
        let runtime = tokio::runtime::Runtime::new().context("no threads to work with")?;
        let outcome = runtime.block_on(self.serve(&module, revisions));
        // What still runs has had its time.
        runtime.shutdown_background();
        outcome
    }

    async fn serve(self, module: &FilterModule, revisions: Revisions) -> anyhow::Result<ExitCode> {
        let xds = bind("--xds", self.xds).await?;
        let admin = bind("--admin", self.admin).await?;
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let models = match FileStore::new(&self.config).watch(&mut tasks, shutdown.clone()) {
            Ok(models) => models,
            // Serving nothing would look like serving an empty configuration to whoever waits for this process to be up. Proxies keep
            // what they have as long as no control plane answers.
            Err(LoadError::Invalid(diagnostics)) => {
                eprintln!("{diagnostics}");
                return Ok(ExitCode::from(1));
            }
            Err(error @ LoadError::Unavailable { .. }) => bail!("--config {error}"),
        };

        let cache = Arc::new(Cache::default());
        let fleets = Fleets::default();
        tasks.spawn(publish::run(models, Builder::new(module.sha256(), revisions), Arc::clone(&cache)));

        info!(address = %xds.local_addr()?, "serving xDS");
        info!(address = %admin.local_addr()?, "serving admin");
        let context = Arc::new(Context {
            cache: Arc::clone(&cache),
            refusals: Arc::new(Refusals::default()),
            fleets: fleets.clone(),
            shutdown: shutdown.clone(),
        });
        let routes = discovery::routes(&context).merge(module.routes());
        let xds = discovery::server().add_routes(Routes::from(routes)).serve_with_incoming_shutdown(
            TcpIncoming::from(xds).with_nodelay(Some(true)),
            shutdown.clone().cancelled_owned(),
        );
        let admin = axum::serve(admin, admin::routes(cache))
            .with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let mut servers = JoinSet::new();
        servers.spawn(async { xds.await.context("serving xDS") });
        servers.spawn(async { admin.await.context("serving admin") });

        let ended = tokio::select! {
            signal = stop_signal() => signal.map(|name| info!(signal = name, "stopping")),
            Some(ended) = servers.join_next() => ended.context("serving").flatten(),
        };
        shutdown.cancel();
        let all = async {
            while servers.join_next().await.is_some() {}
            while tasks.join_next().await.is_some() {}
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, all).await.is_err() {
            error!("some connections did not end in time and were cut");
        }
        ended.map(|()| ExitCode::SUCCESS)
    }
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address}"))
}

/// The first signal that asks this process to stop.
async fn stop_signal() -> anyhow::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// Logs to standard error, for people where people read it and as JSON, one object a line, where programs do.
fn log() {
    let filter = EnvFilter::try_from_env("SPILLWAY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).with_current_span(true).with_span_list(false).init();
    }
}
