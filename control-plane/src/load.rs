//! What proxies report about the load of their upstreams: requests and errors by cluster, locality and endpoint.
//!
//! Kept is the newest report of each proxy about each cluster, until it is old. Reports come by LRS ([`crate::discovery`]), as Envoy
//! really sends them: an idle cluster has no localities, an endpoint without traffic is left out, and endpoints are told apart by address
//! alone. Latencies are not among what is reported.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub mod http;
mod view;

pub use self::view::{ClusterView, EndpointView, FleetLoad, LocalityView, Rates};

/// Numbers kept at most, over all proxies: clusters, localities, endpoints and named metrics count one each. About 100 bytes each.
const MAX_ENTRIES: usize = 500_000;

/// A report is forgotten when as many further ones as this should have come.
const EXPIRES_AFTER: u32 = 3;

/// However often reports come, they live at least this long: a busy machine is late sometimes.
const MIN_LIFE: Duration = Duration::from_secs(15);

/// How often what is old is looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Counts over the time of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ended well.
    pub successes: u64,
    /// Ended with an error of the upstream: 5xx, or the gRPC statuses that mean as much.
    pub errors: u64,
    /// Begun.
    pub issued: u64,
    /// Not ended when the report was made.
    pub in_progress: u64,
}

/// A value that upstreams reported themselves (ORCA), summed up.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// `cpu_utilization` and so on, or a name of the application's own.
    pub name: String,
    /// How many values.
    pub count: u64,
    /// Of the values.
    pub sum: f64,
}

/// What was reported of one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointReport {
    /// `ADDRESS:PORT`, or a path.
    pub address: String,
    /// Requests.
    pub counts: Counts,
    /// What it said about itself.
    pub metrics: Vec<Metric>,
}

/// Where endpoints are.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locality {
    /// `region`, empty if unknown; the same for the others.
    pub region: String,
    /// `zone`.
    pub zone: String,
    /// `sub_zone`.
    pub sub_zone: String,
}

/// What was reported of the endpoints in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalityReport {
    /// The place.
    pub locality: Locality,
    /// Requests to all of them.
    pub counts: Counts,
    /// What they said about themselves.
    pub metrics: Vec<Metric>,
    /// Those with traffic; empty if the client reports no single endpoints.
    pub endpoints: Vec<EndpointReport>,
}

/// What was reported of one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterReport {
    /// The cluster.
    pub name: String,
    /// The time that the counts are over.
    pub interval: Duration,
    /// Requests that were dropped on purpose, by circuit breaking and overload policies.
    pub dropped: u64,
    /// Empty if there was no traffic.
    pub localities: Vec<LocalityReport>,
}

/// A report that was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("load reports have {MAX_ENTRIES} entries already: some are not kept until others are old")]
pub struct Full;

/// The newest reports.
#[derive(Debug, Default)]
pub struct Loads {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By fleet and `node.id`.
    proxies: BTreeMap<(String, String), BTreeMap<String, Entry>>,
    entries: usize,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    report: ClusterReport,
    at: Instant,
}

impl Loads {
    /// Keeps a proxy's reports, in place of earlier ones about the same clusters.
    pub fn receive(
        &self,
        fleet: &str,
        node: &str,
        reports: Vec<ClusterReport>,
        now: Instant,
    ) -> Result<(), Full> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.swept.is_none_or(|last| now.saturating_duration_since(last) >= SWEEP) {
            kept.sweep(now);
        }
        let mut proxy = kept.proxies.remove(&(fleet.to_owned(), node.to_owned())).unwrap_or_default();
        let mut outcome = Ok(());
        for report in reports {
            if let Some(old) = proxy.remove(&report.name) {
                kept.entries = kept.entries.saturating_sub(old.report.entries());
            }
            let entries = kept.entries.saturating_add(report.entries());
            if entries > MAX_ENTRIES {
                outcome = Err(Full);
                continue;
            }
            kept.entries = entries;
            proxy.insert(report.name.clone(), Entry { report, at: now });
        }
        if !proxy.is_empty() {
            kept.proxies.insert((fleet.to_owned(), node.to_owned()), proxy);
        }
        outcome
    }

    /// What is known at present, added up by fleet.
    pub fn view(&self, now: Instant) -> Vec<FleetLoad> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        view::fleets(kept.proxies.iter().flat_map(|((fleet, _), clusters)| {
            let current = clusters.values().filter(move |entry| !entry.is_old(now));
            current.map(|entry| (&**fleet, &entry.report))
        }))
    }
}

impl Kept {
    fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        let mut entries = 0;
        self.proxies.retain(|_, clusters| {
            clusters.retain(|_, entry| !entry.is_old(now));
            entries += clusters.values().map(|entry| entry.report.entries()).sum::<usize>();
            !clusters.is_empty()
        });
        self.entries = entries;
    }
}

impl Entry {
    fn is_old(&self, now: Instant) -> bool {
        let life = self.report.interval.saturating_mul(EXPIRES_AFTER).max(MIN_LIFE);
        now.saturating_duration_since(self.at) > life
    }
}

impl ClusterReport {
    fn entries(&self) -> usize {
        let endpoints = |locality: &LocalityReport| -> usize {
            locality.endpoints.iter().map(|endpoint| 1 + endpoint.metrics.len()).sum()
        };
        let localities = self.localities.iter().map(|one| 1 + one.metrics.len() + endpoints(one));
        1 + localities.sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
