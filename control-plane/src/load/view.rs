//! Reports added up, as people and programs read them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use schemars::JsonSchema;
use serde::Serialize;

use super::{ClusterReport, Counts, EndpointReport, Locality, LocalityReport, Metric};

/// Requests a second, and what is going on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Begun each second.
    pub requests: f64,
    /// Ended with an error each second.
    pub errors: f64,
    /// In progress at the end of the last report.
    pub in_progress: u64,
}

/// One endpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// Of all proxies that report it.
    #[serde(flatten)]
    pub rates: Rates,
    /// The mean of what it says about itself (ORCA), by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// The endpoints in one place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalityView {
    /// `region`, empty if unknown.
    pub region: String,
    /// `zone`, empty if unknown.
    pub zone: String,
    /// `subZone`, empty if unknown.
    pub sub_zone: String,
    /// Of all endpoints in it.
    #[serde(flatten)]
    pub rates: Rates,
    /// By address.
    pub endpoints: BTreeMap<String, EndpointView>,
}

/// One cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// How many proxies report it.
    pub proxies: usize,
    /// Of all its endpoints.
    #[serde(flatten)]
    pub rates: Rates,
    /// Requests dropped on purpose, a second.
    pub dropped: f64,
    /// In the order of their names.
    pub localities: Vec<LocalityView>,
}

/// One fleet.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetLoad {
    /// `node.cluster` of its proxies.
    pub fleet: String,
    /// By name.
    pub clusters: BTreeMap<String, ClusterView>,
}

/// Sums while they are being made.
#[derive(Default)]
struct Cluster {
    view: ClusterView,
    localities: BTreeMap<Locality, Place>,
}

#[derive(Default)]
struct Place {
    rates: Rates,
    endpoints: BTreeMap<String, Endpoint>,
}

#[derive(Default)]
struct Endpoint {
    rates: Rates,
    metrics: BTreeMap<String, Metric>,
}

/// Adds up reports, each with its fleet.
pub(super) fn fleets<'a>(reports: impl Iterator<Item = (&'a str, &'a ClusterReport)>) -> Vec<FleetLoad> {
    let mut fleets: BTreeMap<&str, BTreeMap<&str, Cluster>> = BTreeMap::new();
    for (fleet, report) in reports {
        fleets.entry(fleet).or_default().entry(&report.name).or_default().add(report);
    }
    fleets
        .into_iter()
        .map(|(fleet, clusters)| FleetLoad {
            fleet: fleet.to_owned(),
            clusters: clusters.into_iter().map(|(name, one)| (name.to_owned(), one.finish())).collect(),
        })
        .collect()
}

impl Cluster {
    fn add(&mut self, report: &ClusterReport) {
        let ClusterReport { name: _, interval, dropped, localities } = report;
        let seconds = interval.as_secs_f64();
        self.view.proxies += 1;
        self.view.dropped += rate(*dropped, seconds);
        for LocalityReport { locality, counts, metrics: _, endpoints } in localities {
            self.view.rates.add(counts, seconds);
            let place = self.localities.entry(locality.clone()).or_default();
            place.rates.add(counts, seconds);
            for EndpointReport { address, counts, metrics } in endpoints {
                let endpoint = place.endpoints.entry(address.clone()).or_default();
                endpoint.rates.add(counts, seconds);
                for metric in metrics {
                    match endpoint.metrics.entry(metric.name.clone()) {
                        Entry::Vacant(entry) => drop(entry.insert(metric.clone())),
                        Entry::Occupied(mut entry) => {
                            let sums = entry.get_mut();
                            sums.count = sums.count.saturating_add(metric.count);
                            sums.sum += metric.sum;
                        }
                    }
                }
            }
        }
    }

    fn finish(self) -> ClusterView {
        let localities = self.localities.into_iter().map(|(locality, place)| {
            let Locality { region, zone, sub_zone } = locality;
            let endpoints = place.endpoints.into_iter().map(|(address, endpoint)| {
                let mean = |metric: Metric| (metric.name, over(metric.sum, metric.count));
                let metrics = endpoint.metrics.into_values().filter(|metric| metric.count > 0).map(mean);
                (address, EndpointView { rates: endpoint.rates, metrics: metrics.collect() })
            });
            let endpoints = endpoints.collect();
            LocalityView { region, zone, sub_zone, rates: place.rates, endpoints }
        });
        ClusterView { localities: localities.collect(), ..self.view }
    }
}

impl Rates {
    fn add(&mut self, counts: &Counts, seconds: f64) {
        let Counts { successes: _, errors, issued, in_progress } = *counts;
        self.requests += rate(issued, seconds);
        self.errors += rate(errors, seconds);
        self.in_progress = self.in_progress.saturating_add(in_progress);
    }
}

fn rate(count: u64, seconds: f64) -> f64 {
    // A report over no time at all says nothing about a second.
    if seconds > 0.0 { float(count) / seconds } else { 0.0 }
}

fn over(sum: f64, count: u64) -> f64 {
    sum / float(count)
}

#[expect(clippy::cast_precision_loss, reason = "counts of one interval, for display")]
fn float(count: u64) -> f64 {
    count as f64
}
