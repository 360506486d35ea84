//! `spillway bootstrap`.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, process};

use anyhow::Context;

use crate::bootstrap::{Bootstrap as Rendered, HostPort, Tls};

/// Prints the bootstrap for one Envoy of a fleet: save it and run `envoy -c FILE`.
#[derive(Debug, clap::Args)]
pub(super) struct Bootstrap {
    /// The fleet whose Gateways this Envoy serves
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    fleet: String,
    /// This Envoy's name, unique in its fleet [default: the host's name and a number]
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    node: Option<String>,
    /// The zone this Envoy runs in
    #[arg(long, value_name = "Z")]
    zone: Option<String>,
    /// Where the control plane's replicas listen
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:18000")]
    xds: Vec<HostPort>,
    /// Serve Envoy's own admin interface on this port of 127.0.0.1
    #[arg(long, value_name = "N")]
    admin_port: Option<NonZeroU16>,
    /// A Wasm module on the Envoy's own disk, instead of the one that the control plane serves
    #[arg(long, value_name = "F")]
    filter_path: Option<PathBuf>,
    /// MiB of heap with which this Envoy counts as full: at 95 % of it requests are answered 503, at 98 % no connection is accepted. Four fifths of what its
    /// container or machine has for it is a good value
    #[arg(long, value_name = "MIB", default_value = "2048")]
    max_heap: NonZeroU32,
    /// Connections of clients, on all listeners together; those beyond are closed as they come
    #[arg(long, value_name = "N", default_value = "100000")]
    max_connections: NonZeroU32,
    /// Reach the control plane with TLS: who vouches for its certificate, in PEM. The certificate has to name the host of --xds
    #[arg(long, value_name = "F")]
    xds_tls_ca: Option<PathBuf>,
    /// This Envoy's certificate, in PEM, where the control plane asks for one
    #[arg(long, value_name = "F", requires_all = ["xds_tls_key", "xds_tls_ca"])]
    xds_tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, value_name = "F", requires = "xds_tls_cert")]
    xds_tls_key: Option<PathBuf>,
}

impl Bootstrap {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            fleet,
            node,
            zone,
            xds,
            admin_port,
            filter_path,
            max_heap,
            max_connections,
            xds_tls_ca,
            xds_tls_cert,
            xds_tls_key,
        } = self;
        let filter_path = filter_path.map(|path| absolute("--filter-path", &path)).transpose()?;
        let ca = xds_tls_ca.map(|path| absolute("--xds-tls-ca", &path)).transpose()?;
        let certificate = xds_tls_cert.map(|path| absolute("--xds-tls-cert", &path)).transpose()?;
        let key = xds_tls_key.map(|path| absolute("--xds-tls-key", &path)).transpose()?;
        let tls = ca.map(|ca| Tls { ca, certificate: certificate.zip(key) });
        let node = node.unwrap_or_else(unique_node);
        let rendered =
            Rendered { fleet, node, zone, xds, admin_port, filter_path, tls, max_heap, max_connections }
                .render();
        println!("{rendered:#}");
        Ok(ExitCode::SUCCESS)
    }
}

/// A path that means the same wherever Envoy is started.
fn absolute(flag: &str, path: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path)
        .with_context(|| format!("{flag} {} can't be made absolute", path.display()))?;
    absolute.into_os_string().into_string().map_err(|path| {
        anyhow::anyhow!("{flag} {} is not UTF-8, which Envoy's configuration needs", path.display())
    })
}

/// The host's name, so that people recognise it, and this process's number, so that two on one host differ.
fn unique_node() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| env::var("HOSTNAME").ok());
    let host = host.as_deref().map_or("envoy", str::trim);
    format!("{host}-{}", process::id())
}
