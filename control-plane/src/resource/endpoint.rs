//! A Backend's endpoints as a load assignment.

use envoy_types::pb::envoy::config::core::v3::Locality;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};

use super::{socket_address, uint32};
use crate::document::kind;

/// The load assignment of one Backend, named after its cluster.
///
/// A Backend without endpoints gets one that is empty: removing the assignment would leave the old endpoints in use.
pub fn load_assignment(name: &str, backend: &kind::Backend) -> ClusterLoadAssignment {
    let lb_endpoints: Vec<_> = backend.endpoints.iter().map(lb_endpoint).collect();
    let locality = LocalityLbEndpoints {
        // gRPC clients ignore endpoints whose locality is not set or has no weight.
        locality: Some(Locality::default()),
        load_balancing_weight: Some(uint32(1)),
        lb_endpoints,
        ..LocalityLbEndpoints::default()
    };
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: if locality.lb_endpoints.is_empty() { Vec::new() } else { vec![locality] },
        ..ClusterLoadAssignment::default()
    }
}

fn lb_endpoint(endpoint: &kind::Endpoint) -> LbEndpoint {
    let kind::Endpoint { address, port, weight, zone: _ } = endpoint;
    LbEndpoint {
        load_balancing_weight: Some(uint32(weight.get())),
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(socket_address(*address, port.get())),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}
