//! What keeps requests that belong together on one Backend, and on one of its endpoints.

use envoy_types::pb::envoy::config::route::v3::{
    RouteAction, WeightedCluster,
    route_action::{
        HashPolicy,
        hash_policy::{ConnectionProperties, Cookie, Header, PolicySpecifier},
    },
    weighted_cluster::{ClusterWeight, RandomValueSpecifier},
};
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::{
    StatefulSession, StatefulSessionPerRoute, stateful_session_per_route::Override,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::pb::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use envoy_types::pb::envoy::r#type::http::v3::{Cookie as SessionCookie, CookieAttribute};
use envoy_types::pb::google::protobuf::Any;

use super::ROUTE_KEY_HEADER;
use crate::document::kind::{BackendRef, HashKey, Rule, SessionPersistence};
use crate::model::Attachment;
use crate::resource::{any, boolean, duration, extension, uint32};

/// The name of the filter, and of its settings for a route.
const SESSION_FILTER: &str = "envoy.filters.http.stateful_session";

/// What weights add up to where a hash chooses: the same whatever they are, because a key's Backend is the remainder by the sum.
const PARTS: u64 = 1 << 20;

/// Adds what a rule is hashed on.
pub(super) fn hashed(rule: &Rule, action: RouteAction) -> RouteAction {
    RouteAction { hash_policy: rule.hash_on.iter().map(hash_policy).collect(), ..action }
}

fn hash_policy(key: &HashKey) -> HashPolicy {
    let header = |name: &str| {
        PolicySpecifier::Header(Header { header_name: name.to_ascii_lowercase(), ..Header::default() })
    };
    let specifier = match key {
        // The route adds it to the request before an endpoint is chosen.
        HashKey::RouteKey => header(ROUTE_KEY_HEADER),
        HashKey::Header(name) => header(name),
        HashKey::Cookie(cookie) => PolicySpecifier::Cookie(Cookie {
            name: cookie.name.clone(),
            ttl: cookie.ttl.map(|time| duration(time.get())),
            // A browser would otherwise send it back for this directory only.
            path: if cookie.ttl.is_some() { "/".to_owned() } else { String::new() },
            attributes: Vec::new(),
        }),
        HashKey::ClientAddress => {
            PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
        }
    };
    // Otherwise all of them would be mixed, and a request with one more would go elsewhere.
    HashPolicy { terminal: true, policy_specifier: Some(specifier) }
}

/// Several Backends by weight; of a rule with `hashOn` by the same hash that chooses the endpoint.
pub(super) fn weighted_clusters(rule: &Rule, several: &[&BackendRef]) -> WeightedCluster {
    let hashed = !rule.hash_on.is_empty();
    let weights = if hashed { parts(several) } else { several.iter().map(|one| one.weight).collect() };
    let clusters = several.iter().zip(weights).map(|(reference, weight)| ClusterWeight {
        name: reference.name.clone(),
        weight: Some(uint32(weight)),
        ..ClusterWeight::default()
    });
    WeightedCluster {
        clusters: clusters.collect(),
        random_value_specifier: hashed.then_some(RandomValueSpecifier::UseHashPolicy(boolean(true))),
        ..WeightedCluster::default()
    }
}

/// The weights as parts of [`PARTS`], none of which is 0. Where each ends is rounded, so that their sum is exact.
fn parts(several: &[&BackendRef]) -> Vec<u32> {
    let sum = several.iter().map(|one| u64::from(one.weight)).sum::<u64>().max(1);
    let mut before = 0;
    let mut given = 0;
    let parts = several.iter().map(|one| {
        before += u64::from(one.weight);
        let end = (before * PARTS / sum).max(given + 1);
        let part = end - given;
        given = end;
        u32::try_from(part).unwrap_or(u32::MAX)
    });
    parts.collect()
}

/// Whether a listener needs [`session_filter`].
pub(crate) fn keeps_sessions(attachments: &[Attachment<'_>]) -> bool {
    let rules = attachments.iter().flat_map(|attachment| &attachment.route.rules);
    rules.into_iter().any(|rule| rule.session_persistence.is_some())
}

/// The filter that keeps sessions. It does nothing but for routes that have [`settings`].
pub(crate) fn session_filter() -> HttpFilter {
    HttpFilter {
        name: SESSION_FILTER.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(&StatefulSession::default()))),
        ..HttpFilter::default()
    }
}

/// A route's settings for [`session_filter`], under its name.
pub(super) fn session(persistence: &SessionPersistence) -> (String, Any) {
    let SessionPersistence { session_name, kind: _, absolute_timeout } = persistence;
    let cookie = SessionCookie {
        name: session_name.clone(),
        ttl: absolute_timeout.map(|time| duration(time.get())),
        path: "/".to_owned(),
        // Envoy adds HttpOnly itself.
        attributes: vec![CookieAttribute { name: "SameSite".to_owned(), value: "Lax".to_owned() }],
    };
    let state = CookieBasedSessionState { cookie: Some(cookie) };
    let session = StatefulSession {
        session_state: Some(extension("envoy.http.stateful_session.cookie", &state)),
        ..StatefulSession::default()
    };
    let settings = StatefulSessionPerRoute { r#override: Some(Override::StatefulSession(session)) };
    (SESSION_FILTER.to_owned(), any(&settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts_of(weights: &[u32]) -> Vec<u32> {
        let references: Vec<_> =
            weights.iter().map(|weight| BackendRef { name: String::new(), weight: *weight }).collect();
        parts(&references.iter().collect::<Vec<_>>())
    }

    #[test]
    fn moving_weight_moves_what_it_stands_for_and_nothing_else() {
        assert_eq!(parts_of(&[50, 50]), parts_of(&[1, 1]));
        for weights in [&[70, 30][..], &[1, 1, 1], &[7, 0x7fff_ffff, 3]] {
            assert_eq!(parts_of(weights).iter().sum::<u32>(), 1 << 20, "{weights:?}");
            assert!(parts_of(weights).iter().all(|part| *part > 0), "{weights:?}");
        }
        // From 70 : 30 to 80 : 20 the border moves by a tenth.
        let (before, after) = (parts_of(&[70, 30]), parts_of(&[80, 20]));
        assert_eq!((after[0] - before[0]) / 1_000, (1 << 20) / 10_000);
    }
}
