//! LRS's messages as [`crate::load`] keeps them.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, Pipe, SocketAddress, address};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterStats, EndpointLoadMetricStats, UnnamedEndpointLoadMetricStats, UpstreamEndpointStats,
    UpstreamLocalityStats,
};
use envoy_types::pb::google::protobuf;

use crate::load::{ClusterReport, Counts, EndpointReport, Locality, LocalityReport, Metric};

impl From<ClusterStats> for ClusterReport {
    fn from(stats: ClusterStats) -> Self {
        let interval = stats.load_report_interval.and_then(|interval| {
            let seconds = u64::try_from(interval.seconds).ok()?;
            Some(Duration::new(seconds, u32::try_from(interval.nanos).ok().filter(|n| *n < 1_000_000_000)?))
        });
        Self {
            name: stats.cluster_name,
            interval: interval.unwrap_or_default(),
            dropped: stats.total_dropped_requests,
            localities: stats.upstream_locality_stats.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<UpstreamLocalityStats> for LocalityReport {
    fn from(stats: UpstreamLocalityStats) -> Self {
        let locality = stats.locality.unwrap_or_default();
        let own = [
            ("cpu_utilization", stats.cpu_utilization),
            ("mem_utilization", stats.mem_utilization),
            ("application_utilization", stats.application_utilization),
        ];
        let own = own.into_iter().filter_map(|(name, sums)| Some(unnamed(name, sums?)));
        Self {
            locality: Locality { region: locality.region, zone: locality.zone, sub_zone: locality.sub_zone },
            counts: Counts {
                successes: stats.total_successful_requests,
                errors: stats.total_error_requests,
                issued: stats.total_issued_requests,
                in_progress: stats.total_requests_in_progress,
            },
            metrics: own.chain(stats.load_metric_stats.into_iter().map(Into::into)).collect(),
            endpoints: stats.upstream_endpoint_stats.into_iter().filter_map(endpoint).collect(),
        }
    }
}

impl From<EndpointLoadMetricStats> for Metric {
    fn from(stats: EndpointLoadMetricStats) -> Self {
        let EndpointLoadMetricStats { metric_name, num_requests_finished_with_metric, total_metric_value } =
            stats;
        Self { name: metric_name, count: num_requests_finished_with_metric, sum: finite(total_metric_value) }
    }
}

fn unnamed(name: &str, stats: UnnamedEndpointLoadMetricStats) -> Metric {
    let UnnamedEndpointLoadMetricStats { num_requests_finished_with_metric, total_metric_value } = stats;
    Metric {
        name: name.to_owned(),
        count: num_requests_finished_with_metric,
        sum: finite(total_metric_value),
    }
}

/// Upstreams say what they like, and one value that is no number would spoil every sum it goes into.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// An endpoint is told from others by its address; without one it can't be.
fn endpoint(stats: UpstreamEndpointStats) -> Option<EndpointReport> {
    Some(EndpointReport {
        address: address(stats.address?)?,
        counts: Counts {
            successes: stats.total_successful_requests,
            errors: stats.total_error_requests,
            issued: stats.total_issued_requests,
            in_progress: stats.total_requests_in_progress,
        },
        metrics: stats.load_metric_stats.into_iter().map(Into::into).collect(),
    })
}

fn address(address: Address) -> Option<String> {
    match address.address? {
        address::Address::SocketAddress(SocketAddress { address, port_specifier, .. }) => {
            let host = if address.contains(':') { format!("[{address}]") } else { address };
            Some(match port_specifier? {
                PortSpecifier::PortValue(port) => format!("{host}:{port}"),
                PortSpecifier::NamedPort(port) => format!("{host}:{port}"),
            })
        }
        address::Address::Pipe(Pipe { path, .. }) => Some(path),
        address::Address::EnvoyInternalAddress(_) => None,
    }
}

/// As protobuf has it.
pub(super) fn duration(duration: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}
