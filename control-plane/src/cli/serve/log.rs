//! Where log events go.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::telemetry::LogLayer;

/// How lines are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people on a terminal, as JSON elsewhere
    Auto,
    /// One object a line
    Json,
    /// For people
    Pretty,
}

/// Begins to log. `SPILLWAY_LOG` says what; `exported` gets what is of this program's own.
pub(super) fn begin(format: LogFormat, exported: Option<LogLayer>) {
    let filter =
        EnvFilter::try_from_env("SPILLWAY_LOG").unwrap_or_else(|_| EnvFilter::new("info,opentelemetry=warn"));
    // What the exporters' own libraries say would make more to export.
    let ours = filter_fn(|metadata| metadata.target().starts_with("spillway"));
    let exported = exported.map(|layer| layer.with_filter(ours));
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let is_json = match format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Pretty => false,
    };
    let lines = if is_json {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    } else {
        lines.boxed()
    };
    tracing_subscriber::registry().with(filter).with(exported).with(lines).init();
}
