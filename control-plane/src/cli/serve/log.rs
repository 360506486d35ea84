//! Where log events go.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::telemetry::LogLayer;

/// What writes lines, in one format or another.
type Lines = Box<dyn Layer<Layered<EnvFilter, Registry>> + Send + Sync>;

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
    subscriber(filter, lines, exported).init();
}

/// Lines for everything that passes the filter, and what of it is exported.
///
/// In this order: a layer behind one that has a filter of its own, as the last one has, would make every event be asked about each time that it comes up, also those below
/// the level that anybody wants. A push has many of them.
fn subscriber<L>(filter: EnvFilter, lines: Lines, exported: Option<L>) -> impl Subscriber + Send + Sync
where
    L: Layer<Layered<Lines, Layered<EnvFilter, Registry>>> + Send + Sync,
{
    // What the exporters' own libraries say would make more to export.
    let ours = filter_fn(|metadata| metadata.target().starts_with("spillway"));
    let exported = exported.map(|layer| layer.with_filter(ours));
    tracing_subscriber::registry().with(filter).with(lines).with(exported)
}

#[cfg(test)]
mod tests {
    use tracing::level_filters::LevelFilter;

    use super::*;

    #[test]
    fn what_nobody_wants_is_not_even_asked_about() {
        for exported in [None, Some(fmt::layer())] {
            let shown = subscriber(EnvFilter::new("info"), fmt::layer().boxed(), exported);
            assert_eq!(shown.max_level_hint(), Some(LevelFilter::INFO));
        }
    }
}
