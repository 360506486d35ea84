//! A Backend's endpoints as a load assignment.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};

use super::{socket_address, uint32};
use crate::document::kind;

/// The load assignment of one Backend, named after its cluster. For a proxy that stands in zone `near`, its endpoints come first and the
/// others take over as far as those fail.
///
/// A Backend without endpoints gets one that is empty: removing the assignment would leave the old endpoints in use.
pub fn load_assignment(
    name: &str,
    endpoints: &[kind::Endpoint],
    near: Option<&str>,
) -> ClusterLoadAssignment {
    let mut localities = BTreeMap::<_, Vec<_>>::new();
    for endpoint in endpoints {
        localities.entry((rank(endpoint, near), endpoint.zone.as_deref())).or_default().push(endpoint);
    }
    // Envoy's priorities have no gaps.
    let mut priorities: Vec<_> = localities.keys().map(|(rank, _)| *rank).collect();
    priorities.dedup();
    let priority = |rank| {
        u32::try_from(priorities.iter().take_while(|other| **other < rank).count()).unwrap_or(u32::MAX)
    };
    let endpoints = localities.into_iter().map(|((rank, zone), endpoints)| LocalityLbEndpoints {
        // gRPC clients ignore endpoints whose locality is not set or has no weight, and share calls between localities by weight.
        locality: Some(Locality { zone: zone.unwrap_or_default().to_owned(), ..Locality::default() }),
        load_balancing_weight: Some(uint32(endpoints.iter().map(|one| one.weight).sum::<u32>().max(1))),
        lb_endpoints: endpoints.into_iter().map(lb_endpoint).collect(),
        priority: priority(rank),
        ..LocalityLbEndpoints::default()
    });
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: endpoints.collect(),
        ..ClusterLoadAssignment::default()
    }
}

/// When an endpoint's turn comes. One that drains counts for the health of those that it stands with, so it stands apart where that would
/// send requests to another zone.
fn rank(endpoint: &kind::Endpoint, near: Option<&str>) -> u8 {
    match near {
        None => 0,
        Some(_) if endpoint.weight == 0 => 2,
        Some(near) => u8::from(endpoint.zone.as_deref() != Some(near)),
    }
}

fn lb_endpoint(endpoint: &kind::Endpoint) -> LbEndpoint {
    let kind::Endpoint { address, port, weight, zone: _ } = endpoint;
    // Envoy knows no weight 0. It sends nothing new to an endpoint that drains, and leaves it its connections.
    let health = if *weight == 0 { HealthStatus::Draining } else { HealthStatus::Unknown };
    LbEndpoint {
        health_status: health.into(),
        load_balancing_weight: Some(uint32((*weight).max(1))),
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(socket_address(*address, port.get())),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(of: &[(u8, u32, Option<&str>)]) -> Vec<kind::Endpoint> {
        let one = |(last, weight, zone): &(u8, u32, Option<&str>)| kind::Endpoint {
            address: [10, 0, 0, *last].into(),
            port: std::num::NonZeroU16::MIN,
            weight: *weight,
            zone: zone.map(str::to_owned),
        };
        of.iter().map(one).collect()
    }

    /// Priority, zone, weight, and of each endpoint whether it drains.
    fn shown(assignment: &ClusterLoadAssignment) -> Vec<(u32, &str, u32, Vec<bool>)> {
        let shown = assignment.endpoints.iter().map(|one| {
            let drains = one.lb_endpoints.iter().map(|e| e.health_status() == HealthStatus::Draining);
            let zone = &one.locality.as_ref().unwrap().zone;
            (one.priority, zone.as_str(), one.load_balancing_weight.unwrap().value, drains.collect())
        });
        shown.collect()
    }

    #[test]
    fn zones_are_localities_of_one_priority_unless_one_is_near() {
        let all = endpoints(&[(1, 1, Some("a")), (2, 3, Some("b")), (3, 1, None), (4, 1, Some("b"))]);
        let far = load_assignment("v1", &all, None);
        assert_eq!(
            shown(&far),
            [(0, "", 1, vec![false]), (0, "a", 1, vec![false]), (0, "b", 4, vec![false, false])]
        );
        let near = load_assignment("v1", &all, Some("b"));
        assert_eq!(
            shown(&near),
            [(0, "b", 4, vec![false, false]), (1, "", 1, vec![false]), (1, "a", 1, vec![false])]
        );
        // Nobody stands near: all are as good.
        assert_eq!(shown(&load_assignment("v1", &all, Some("c"))), shown(&far));
    }

    #[test]
    fn what_drains_stays_and_does_not_count_for_the_health_of_its_zone() {
        let all = endpoints(&[(1, 0, Some("a")), (2, 1, Some("a")), (3, 1, Some("b"))]);
        assert_eq!(
            shown(&load_assignment("v1", &all, None)),
            [(0, "a", 1, vec![true, false]), (0, "b", 1, vec![false])]
        );
        assert_eq!(
            shown(&load_assignment("v1", &all, Some("a"))),
            [(0, "a", 1, vec![false]), (1, "b", 1, vec![false]), (2, "a", 1, vec![true])]
        );
        let none = load_assignment("v1", &[], Some("a"));
        assert_eq!((none.cluster_name.as_str(), none.endpoints.len()), ("v1", 0));
    }
}
