//! `spillway top`.

mod figures;
mod keys;
mod live;
mod meaning;
mod model;
mod poll;
mod screen;
mod source;
mod table;
mod views;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use spillway_policy::unit;

use self::model::{Model, Picture, Said};
use self::poll::{Asked, Heard, Hearing};
use self::views::View;
use super::client::{Page, Server, escaped};
use super::output::{self, Format, Output, Paint};

/// Envoys and Prometheus are asked no more often than this.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Shows fleets, routes, rates, rejects and breakers, live
///
/// On a terminal until q is pressed. In a pipe, and with --once or -o json or yaml, everything is shown once, after the interval, which rates need: it exits with 0, or with 2 if somebody did not answer.
#[derive(Debug, clap::Args)]
pub(super) struct Top {
    /// Where the data plane's figures come from: the admin port of an Envoy (`http://HOST:9901`), or `http://PROMETHEUS:9090/federate` for every Envoy that it knows. Can be repeated; without any, only fleets are shown
    #[arg(long, value_name = "URL", env = "SPILLWAY_METRICS", value_delimiter = ' ')]
    metrics: Vec<String>,
    /// How often everybody is asked, such as 500ms or 5s. A Prometheus has something new only as often as it asks its targets
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    interval: unit::Duration,
    /// Show everything once, as in a pipe
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl Top {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let interval = self.interval.get();
        ensure!(interval >= MIN_INTERVAL, "--interval {interval:?}: it is {MIN_INTERVAL:?} at least");
        let mut metrics = Vec::new();
        for url in self.metrics.iter().filter(|url| !url.is_empty()) {
            // The same Envoy would count twice.
            ensure!(!metrics.contains(url), "--metrics {url} is given twice");
            metrics.push(url.clone());
        }
        let pages = metrics.iter().map(|url| self.server.page("--metrics", url, missing));
        let sources: Vec<Page> = pages.collect::<Result<_, _>>()?;
        let server = self.server.client()?;
        let model = Model::new(server.url(), metrics);
        let is_live = !self.once && self.output.output == Format::Table && output::is_whole_screen();
        let hearing = Asked { server, sources, interval, with_signals: is_live }.start()?;
        if is_live {
            return live::run(model, hearing, Paint::stdout().is_on());
        }
        let picture = once(model, hearing)?;
        self.output.show(&picture, text)?;
        for standing in picture.away() {
            eprintln!("spillway: {}", screen::line_of(standing));
        }
        Ok(if picture.away().next().is_none() { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

/// What to ask for where a URL has no query: only what is looked at, out of the thousands that there are.
fn missing(path: &str) -> Option<String> {
    const ENVOY: &str = "/stats/prometheus";
    match path {
        "" | ENVOY => Some(format!("{ENVOY}?filter={}", escaped(meaning::ENVOY_FILTER))),
        _ if path.ends_with("/federate") => {
            Some(format!("{path}?match%5B%5D={}", escaped(meaning::PROMETHEUS_MATCH)))
        }
        _ => None,
    }
}

/// The first picture with rates in it: everybody has been asked, and the sources of metrics twice.
fn once(mut model: Model, mut hearing: Hearing) -> anyhow::Result<Picture> {
    let started = Instant::now();
    let seconds = |at: Instant| at.saturating_duration_since(started).as_secs_f64();
    let mut left = model.asked();
    while left.iter().any(|count| *count > 0) {
        let Heard::Said(at, said) = hearing.wait()? else { continue };
        let number = match &said {
            Said::Server(_) => 0,
            Said::Source(number, _) => number + 1,
        };
        if let Some(count) = left.get_mut(number) {
            *count = count.saturating_sub(1);
        }
        model.take(said, seconds(at));
    }
    Ok(model.picture(seconds(Instant::now())))
}

/// All views for people; of those that nobody was asked for, one says so.
fn text(picture: &Picture) -> String {
    let mut text = format!("{}\n", screen::sums(picture));
    for view in View::ALL {
        let table = view.table(picture).arranged("", view.order());
        let is_wanted = match view {
            View::Fleets | View::Routes => true,
            View::Behind => !table.rows.is_empty(),
            View::Rules | View::Breakers => !picture.sources.is_empty(),
        };
        if is_wanted {
            text.extend(["\n", view.title(), "\n", &table.print()]);
        }
    }
    text
}

#[cfg(test)]
mod tests;
