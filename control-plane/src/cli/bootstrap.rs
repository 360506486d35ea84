//! `spillway bootstrap`.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs, process};

use anyhow::Context;

use crate::bootstrap::{Bootstrap as Rendered, HostPort};

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
}

impl Bootstrap {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { fleet, node, zone, xds, admin_port, filter_path } = self;
        let filter_path = filter_path
            .map(|path| {
                let absolute = std::path::absolute(&path)
                    .with_context(|| format!("--filter-path {} can't be made absolute", path.display()))?;
                absolute.into_os_string().into_string().map_err(|path| {
                    anyhow::anyhow!(
                        "--filter-path {} is not UTF-8, which Envoy's configuration needs",
                        path.display()
                    )
                })
            })
            .transpose()?;
        let node = node.unwrap_or_else(unique_node);
        let rendered = Rendered { fleet, node, zone, xds, admin_port, filter_path }.render();
        println!("{rendered:#}");
        Ok(ExitCode::SUCCESS)
    }
}

/// The host's name, so that people recognise it, and this process's number, so that two on one host differ.
fn unique_node() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| env::var("HOSTNAME").ok());
    let host = host.as_deref().map_or("envoy", str::trim);
    format!("{host}-{}", process::id())
}
