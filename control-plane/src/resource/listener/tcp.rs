//! What stands behind a listener that passes bytes on as they come.

use envoy_types::pb::envoy::config::listener::v3::Filter;
use envoy_types::pb::envoy::extensions::filters::network::direct_response::v3::Config as DirectResponse;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy,
    tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight},
};
use envoy_types::pb::envoy::r#type::v3::{
    HashPolicy,
    hash_policy::{PolicySpecifier, SourceIp},
};

use super::{filter, stat_prefix};
use crate::document::kind::{Listener, Rule};
use crate::model::Attachment;
use crate::resource::access_log::access_log;
use crate::resource::duration;

/// Passes connections on to the Backends of the one rule that a Route for such a listener has. Without one, or where none of them has a weight, connections are closed as they come.
pub(super) fn proxy(gateway: &str, listener: &Listener, attachments: &[Attachment<'_>]) -> Filter {
    let rule = attachments.iter().find_map(|attachment| attachment.route.rules.first());
    let Some((rule, clusters)) = rule.and_then(|rule| Some((rule, clusters(rule)?))) else {
        return filter("direct_response", &DirectResponse::default());
    };
    let idle = rule.timeouts.idle.unwrap_or(listener.limits.idle_timeout);
    let proxy = TcpProxy {
        stat_prefix: stat_prefix(gateway, listener),
        cluster_specifier: Some(clusters),
        idle_timeout: Some(duration(idle.get())),
        max_downstream_connection_duration: rule
            .timeouts
            .lifetime
            .filter(|lifetime| !lifetime.is_zero())
            .map(|lifetime| duration(lifetime.get())),
        access_log: listener.access_log.then(access_log).into_iter().collect(),
        // A connection has nothing else to be told from others by.
        hash_policy: if rule.hash_on.is_empty() { Vec::new() } else { vec![by_client_address()] },
        ..TcpProxy::default()
    };
    filter("tcp_proxy", &proxy)
}

fn by_client_address() -> HashPolicy {
    HashPolicy { policy_specifier: Some(PolicySpecifier::SourceIp(SourceIp {})) }
}

fn clusters(rule: &Rule) -> Option<ClusterSpecifier> {
    let weighted: Vec<_> = rule.backend_refs.iter().filter(|reference| reference.weight > 0).collect();
    match weighted.as_slice() {
        [] => None,
        [only] => Some(ClusterSpecifier::Cluster(only.name.clone())),
        several => Some(ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: several
                .iter()
                .map(|reference| ClusterWeight {
                    name: reference.name.clone(),
                    weight: reference.weight,
                    metadata_match: None,
                })
                .collect(),
        })),
    }
}
