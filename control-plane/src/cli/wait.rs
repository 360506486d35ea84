//! `--wait`: shows how a revision reaches the proxies, until all of them have answered.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use spillway_policy::unit;

use super::client::{Client, ClientError, Events};
use super::output::{self, Paint, printable};
use crate::fleet::{FleetView, ProxyView, PushView, RefusedView};

/// A proxy has refused the revision.
const REFUSED: u8 = 3;

/// Not every proxy has answered in time.
const LATE: u8 = 4;

/// Without an event the state is asked for this often: an event might have been about something else.
const INTERVAL: Duration = Duration::from_millis(500);

/// How wide a bar is.
const BAR: usize = 24;

/// Flags of commands that can wait for the proxies.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Wait {
    /// Wait until every connected proxy has accepted it, and show the progress
    #[arg(long)]
    wait: bool,
    /// How long to wait, such as 30s or 5m
    #[arg(long, value_name = "DURATION", default_value = "60s", requires = "wait")]
    timeout: unit::Duration,
}

/// A wait that has begun, so that no event is missed.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    client: &'a Client,
    events: Events<'a>,
    timeout: Duration,
}

impl Wait {
    /// Begins to listen, if waiting is wanted.
    pub(super) fn begin<'a>(&self, client: &'a Client) -> Result<Option<Waiting<'a>>, ClientError> {
        if !self.wait {
            return Ok(None);
        }
        Ok(Some(Waiting { client, events: client.events()?, timeout: self.timeout.get() }))
    }
}

impl Waiting<'_> {
    /// Waits until every proxy of every fleet has answered this revision or a later one.
    pub(super) fn until(mut self, revision: u64) -> anyhow::Result<ExitCode> {
        let deadline = Instant::now() + self.timeout;
        let mut progress = Progress::new();
        loop {
            let fleets: Vec<FleetView> = self.client.get("fleets")?;
            let fleets: Vec<_> = fleets.iter().filter_map(|view| Count::of(view, revision)).collect();
            progress.show(revision, &fleets)?;
            if fleets.iter().all(|fleet| fleet.is_settled) {
                std::io::stderr().flush()?;
                let refusals: Vec<_> = fleets.iter().flat_map(|fleet| &fleet.refusals).collect();
                for refusal in &refusals {
                    eprintln!("{}", Paint::stderr().red(&printable(refusal)));
                }
                return Ok(if refusals.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                std::io::stderr().flush()?;
                eprintln!(
                    "spillway: not every proxy has answered revision {revision} within {:?}",
                    self.timeout
                );
                return Ok(ExitCode::from(LATE));
            }
            self.events.next(left.min(INTERVAL))?;
        }
    }
}

/// How far a fleet is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Count {
    fleet: String,
    proxies: usize,
    accepted: usize,
    /// Were sent something that they have not answered.
    sent: usize,
    refused: usize,
    /// Why, one line each.
    refusals: Vec<String>,
    /// Nothing more is to be expected.
    is_settled: bool,
}

impl Count {
    /// `None` for a fleet that no Gateway names: it gets nothing.
    fn of(view: &FleetView, revision: u64) -> Option<Self> {
        let is_known = view.revision? >= revision;
        let (mut accepted, mut sent, mut refused) = (0, 0, 0);
        let mut refusals = Vec::new();
        for proxy in view.proxies.iter().filter(|_| is_known) {
            if let Some((type_url, reason)) = refusal(proxy) {
                refused += 1;
                refusals.push(told(&view.fleet, &proxy.id, type_url, reason));
            } else if proxy.in_force {
                accepted += 1;
            } else if proxy.types.iter().any(|of_type| of_type.sent != of_type.accepted) {
                sent += 1;
            }
        }
        let mut is_settled = is_known && accepted + refused == view.proxies.len();
        match &view.push {
            PushView::Stopped { by, type_url, refused: reason, .. } if is_known => {
                is_settled = true;
                refused = refused.max(1);
                let line = told(&view.fleet, by, type_url, reason);
                if !refusals.contains(&line) {
                    refusals.push(line);
                }
            }
            PushView::Trying { .. } => is_settled = false,
            PushView::Stopped { .. } | PushView::Everywhere => {}
        }
        let (fleet, proxies) = (view.fleet.clone(), view.proxies.len());
        Some(Self { fleet, proxies, accepted, sent, refused, refusals, is_settled })
    }

    fn text(&self) -> String {
        if self.proxies == 0 {
            return "no proxies are connected".to_owned();
        }
        let mut text = format!("{} of {} accepted", self.accepted, self.proxies);
        for (count, what) in [(self.sent, "sent"), (self.refused, "refused")] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text
    }
}

/// What a proxy refuses of the newest revision, unless that may pass by itself. Before it has answered that one, what it refuses is of an earlier one.
fn refusal(proxy: &ProxyView) -> Option<(&str, &RefusedView)> {
    proxy.answered.then_some(&proxy.types)?.iter().find_map(|of_type| {
        let refused = of_type.refused.as_ref().filter(|refused| !refused.retried)?;
        Some((of_type.type_url.as_str(), refused))
    })
}

fn told(fleet: &str, proxy: &str, type_url: &str, refused: &RefusedView) -> String {
    let of_type = type_url.rsplit('.').next().unwrap_or(type_url);
    let place: Vec<_> =
        [&refused.document, &refused.field].into_iter().flatten().map(String::as_str).collect();
    let place = if place.is_empty() { String::new() } else { format!(" ({})", place.join(": ")) };
    format!("{fleet}: {proxy} has refused a {of_type}: {}{place}", refused.reason.trim())
}

/// What was shown last: bars that are drawn anew on a screen, one line for each change elsewhere.
struct Progress {
    is_screen: bool,
    drawn: usize,
    shown: Vec<Count>,
}

impl Progress {
    fn new() -> Self {
        Self { is_screen: output::is_screen(), drawn: 0, shown: Vec::new() }
    }

    fn show(&mut self, revision: u64, fleets: &[Count]) -> std::io::Result<()> {
        let mut text = String::new();
        if self.is_screen {
            if self.drawn > 0 {
                let _ = write!(text, "\u{1b}[{}A", self.drawn);
            }
            for fleet in fleets {
                let _ =
                    writeln!(text, "\u{1b}[2K{}  {}  {}", printable(&fleet.fleet), bar(fleet), fleet.text());
            }
            // A fleet that went away leaves its line behind.
            text.push_str("\u{1b}[J");
            self.drawn = fleets.len();
        } else {
            for fleet in fleets.iter().filter(|fleet| !self.shown.contains(fleet)) {
                let _ = writeln!(text, "revision {revision}: {}: {}", printable(&fleet.fleet), fleet.text());
            }
        }
        fleets.clone_into(&mut self.shown);
        std::io::stderr().write_all(text.as_bytes())
    }
}

fn bar(fleet: &Count) -> String {
    let part = |count: usize| (count * BAR).checked_div(fleet.proxies).unwrap_or(BAR);
    let (accepted, refused) = (part(fleet.accepted), part(fleet.refused));
    let sent = part(fleet.sent);
    let rest = BAR.saturating_sub(accepted + refused + sent);
    let paint = Paint::stderr();
    format!(
        "[{}{}{}{}]",
        paint.green(&"#".repeat(accepted)),
        paint.red(&"!".repeat(refused)),
        paint.yellow(&">".repeat(sent)),
        ".".repeat(rest)
    )
}

#[cfg(test)]
mod tests;
