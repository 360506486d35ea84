//! Which endpoint of a cluster a request goes to.
//!
//! Envoy's ring has at least `minimum_ring_size` points, and as many for each endpoint as that takes: with one endpoint more, each of the
//! others has fewer. So keys would move between endpoints that have not changed; a tenth of all with four endpoints and Envoy's defaults.
//! Here an endpoint has the same number of points however many others there are, which takes a size that follows the number of endpoints, and
//! with it a new cluster whenever endpoints come or go. A Maglev table has a fixed size and needs no such thing.

use envoy_types::pb::envoy::config::cluster::v3::{
    Cluster,
    cluster::{
        CommonLbConfig, LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig,
        RoundRobinLbConfig, SlowStartConfig,
    },
};
use envoy_types::pb::envoy::config::core::v3::{HealthStatus, HealthStatusSet};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::UInt64Value;

use crate::document::kind::{BalancingPolicy, Endpoint, LoadBalancing, MAX_UNITS, units_of_weight};
use crate::resource::duration;

/// The points of a unit of weight, or fewer where that would make more than [`MAX_UNITS`] points: Envoy's main thread sorts them all each time that
/// an endpoint comes, goes or changes its health. The shares of equal endpoints differ by about 1/sqrt(512), 4 %.
const POINTS: u64 = 512;

/// Adds what the Backend says about load balancing; `endpoints` are those that it has at the moment.
pub(super) fn balanced(cluster: Cluster, balancing: &LoadBalancing, endpoints: &[Endpoint]) -> Cluster {
    let LoadBalancing { policy, slow_start, zone_aware: _, dynamic_weights: _ } = balancing;
    let slow_start_config = slow_start.map(|window| SlowStartConfig {
        slow_start_window: Some(duration(window.get())),
        ..SlowStartConfig::default()
    });
    let (policy, config) = match policy {
        BalancingPolicy::RoundRobin => (
            LbPolicy::RoundRobin,
            slow_start_config.map(|slow_start_config| {
                LbConfig::RoundRobinLbConfig(RoundRobinLbConfig {
                    slow_start_config: Some(slow_start_config),
                })
            }),
        ),
        BalancingPolicy::LeastRequest => (
            LbPolicy::LeastRequest,
            slow_start_config.map(|slow_start_config| {
                LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                    slow_start_config: Some(slow_start_config),
                    ..LeastRequestLbConfig::default()
                })
            }),
        ),
        BalancingPolicy::Random => (LbPolicy::Random, None),
        BalancingPolicy::RingHash => {
            let minimum_ring_size = Some(UInt64Value { value: ring_size(endpoints) });
            let config = RingHashLbConfig { minimum_ring_size, ..RingHashLbConfig::default() };
            (LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(config)))
        }
        BalancingPolicy::Maglev => {
            (LbPolicy::Maglev, Some(LbConfig::MaglevLbConfig(MaglevLbConfig::default())))
        }
    };
    Cluster {
        lb_policy: policy.into(),
        lb_config: config,
        common_lb_config: Some(CommonLbConfig {
            // Above 0 Envoy "panics" when fewer endpoints than that are well, and sends to all of them: to those that are known to fail, and new
            // sessions to those that drain.
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            override_host_status: Some(session_statuses()),
            ..CommonLbConfig::default()
        }),
        ..cluster
    }
}

/// A session stays on its endpoint while that drains, and leaves it when it is not well.
fn session_statuses() -> HealthStatusSet {
    let statuses =
        [HealthStatus::Unknown, HealthStatus::Healthy, HealthStatus::Degraded, HealthStatus::Draining];
    HealthStatusSet { statuses: statuses.map(Into::into).into() }
}

/// The least size that makes Envoy give each unit of weight the same number of points whatever the other endpoints are: for the lightest endpoint it
/// multiplies its share by the size, rounds up, and gives the others as many more as they are heavier.
fn ring_size(endpoints: &[Endpoint]) -> u64 {
    let weights = endpoints.iter().map(|endpoint| u64::from(endpoint.weight)).filter(|weight| *weight > 0);
    let Some(lightest) = weights.min() else { return POINTS };
    let (units, unit) = units_of_weight(endpoints);
    // Powers of two, so that it seldom changes.
    let points = POINTS.min(1 << (MAX_UNITS / units).max(1).ilog2());
    // Half a point less for the lightest: rounding up then hits the number in spite of floating-point errors.
    points * units - units * unit / (2 * lightest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(weights: &[u32]) -> Vec<Endpoint> {
        let one = |(i, weight): (u32, &u32)| Endpoint {
            address: std::net::Ipv4Addr::from_bits(i).into(),
            port: std::num::NonZeroU16::MIN,
            weight: *weight,
            zone: None,
        };
        (0..).zip(weights).map(one).collect()
    }

    /// The points of each endpoint, as Envoy's `RingHashLoadBalancer` counts them.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as Envoy"
    )]
    fn points(weights: &[u32]) -> Vec<u64> {
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let normalized =
            || weights.iter().filter(|weight| **weight > 0).map(|weight| f64::from(*weight) / sum);
        let least = normalized().fold(1.0, f64::min);
        let scale = ((least * ring_size(&endpoints(weights)) as f64).ceil() / least).min(8_388_608.0);
        normalized().map(|weight| (scale * weight).round() as u64).collect()
    }

    #[test]
    fn an_endpoint_has_the_same_number_of_points_whatever_the_others_are() {
        for n in 1..=512 {
            assert_eq!(points(&vec![1; n]), vec![512; n], "{n}");
        }
        assert_eq!(points(&[100, 100, 100]), [512; 3]);
        assert_eq!(points(&[1, 3]), [512, 1_536]);
        assert_eq!(points(&[1, 3, 0, 2]), [512, 1_536, 1_024]);
        assert_eq!(points(&[2, 3]), [1_024, 1_536]);
        assert_eq!(points(&[30, 70, 20]), [1_536, 3_584, 1_024]);
    }

    #[test]
    fn a_ring_is_never_larger_than_envoy_allows() {
        for weights in [vec![1; 513], vec![1; 5_000], vec![1, 262_143], vec![3; 1_000], vec![65_537, 65_536]]
        {
            let size = ring_size(&endpoints(&weights));
            assert!(size <= 262_144, "{weights:?}: {size}");
        }
        assert_eq!(points(&vec![1; 513]), vec![256; 513]);
        assert_eq!(ring_size(&[]), 512);
    }
}
