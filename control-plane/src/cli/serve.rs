//! `spillway serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::output::print_errors;
use crate::admin::Admin;
use crate::cache::Cache;
use crate::dns::{self, Kept, NameServers};
use crate::fleet::Fleets;
use crate::module::FilterModule;
use crate::publish::{self, Past};
use crate::snapshot::build::Builder;
use crate::snapshot::revision::Revisions;
use crate::store::{FileStore, LoadError, OpenError, Store as _};
use crate::telemetry::Telemetry;

mod admin;
mod descriptors;
mod log;
mod xds;

/// How long connections may take to end once their streams have.
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
    #[command(flatten)]
    xds: xds::Xds,
    #[command(flatten)]
    admin: admin::AdminPort,
    /// A name server for the names in Backends, instead of those of the system; can be given several times
    #[arg(long = "name-server", value_name = "ADDRESS:PORT")]
    name_servers: Vec<SocketAddr>,
    /// How to write the log to standard error
    #[arg(long = "log-format", value_name = "FORMAT", value_enum, default_value = "auto")]
    log_format: log::LogFormat,
    /// The Wasm module that proxies load, instead of the one in this binary
    #[arg(long, value_name = "FILE.wasm")]
    filter: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let module = FilterModule::load(self.filter.as_deref())?;
        let revisions = match &self.state {
            Some(directory) => Revisions::kept_in(directory).context("--state")?,
            None => Revisions::default(),
        };
        let runtime = tokio::runtime::Runtime::new().context("no threads to work with")?;
        let telemetry = {
            let _on = runtime.enter();
            Telemetry::start()?
        };
        log::begin(self.log_format, telemetry.log_layer());
        let outcome = runtime.block_on(self.serve(&module, revisions, &telemetry));
        telemetry.end();
        // What still runs has had its time.
        runtime.shutdown_background();
        outcome
    }

    async fn serve(
        self,
        module: &FilterModule,
        revisions: Revisions,
        telemetry: &Telemetry,
    ) -> anyhow::Result<ExitCode> {
        let xds = self.xds.open().await?;
        let longest = xds.grace + SHUTDOWN_TIMEOUT;
        let admin_port = self.admin.open().await?;
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let documents = FileStore::new(&self.config);
        let store = match documents.open(self.state.as_deref(), &mut tasks, shutdown.clone()) {
            Ok(store) => store,
            // Serving nothing would look like serving an empty configuration to whoever waits for this process to be up. Proxies keep
            // what they have as long as no control plane answers.
            Err(OpenError::Load(LoadError::Invalid(diagnostics))) => {
                print_errors(diagnostics);
                return Ok(ExitCode::from(1));
            }
            Err(OpenError::Load(error @ LoadError::Unavailable { .. })) => {
                return Err(anyhow::Error::from(error)).context("--config");
            }
            Err(OpenError::State(error)) => return Err(error).context("--state"),
        };

        let name_servers = NameServers::new(&self.name_servers)?;
        let kept =
            self.state.as_deref().map(Kept::kept_in).transpose().context("--state")?.unwrap_or_default();
        descriptors::raise(xds.max_streams);
        let cache = Arc::new(Cache::default());
        let fleets = Fleets::default();
        let builder = Builder::new(module.sha256(), revisions);
        let model = |revision| store.model_at(revision).ok();
        let past = self.state.as_deref().map(|state| Past::kept_in(state, model));
        let past = past.transpose().context("--state")?.unwrap_or_default();
        let (located, newest) = watch::channel(None);
        tasks.spawn(dns::run(store.subscribe(), name_servers, kept, located));
        tasks.spawn(publish::run(newest, builder, Arc::clone(&cache), fleets.clone(), past));

        let context = Arc::new(xds.context(&cache, &fleets, shutdown.clone()));
        let xds = xds.serve(&context, module.routes(), &mut tasks)?;
        let loads = Arc::clone(&context.loads);
        let clients = Arc::clone(&context.clients);
        let admin = Admin { store, cache, fleets, clients, loads, shutdown: shutdown.clone() };
        let observed = telemetry.observe(Arc::new(admin.clone()));
        let mut servers = JoinSet::new();
        servers.spawn(xds);
        servers.spawn(admin_port.serve(admin, &mut tasks)?);

        let ended = tokio::select! {
            signal = stop_signal() => signal.map(|name| info!(signal = name, "stopping")),
            Some(ended) = servers.join_next() => ended.context("serving").flatten(),
        };
        shutdown.cancel();
        let all = async {
            while servers.join_next().await.is_some() {}
            drop(observed);
            while tasks.join_next().await.is_some() {}
        };
        if tokio::time::timeout(longest, all).await.is_err() {
            error!("some connections did not end in time and were cut");
        }
        ended.map(|()| ExitCode::SUCCESS)
    }
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
