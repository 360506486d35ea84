//! What an Envoy does with delta discovery: which kinds it asks for and when, what it holds, and what it answers. A state machine without
//! sockets.
//!
//! As Envoy does, it asks for clusters and listeners at first, for endpoints, routes and extension configurations once something refers to
//! them; it acknowledges clusters only when their endpoints are there; and on a new stream it names what it holds.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use prost::Message as _;

use super::message::{Any, Cluster, DeltaRequest, DeltaResponse, Entry, Listener, Node, Resource, type_url};

/// The kinds in the order in which Envoy names them on a new stream.
const KINDS: [&str; 5] =
    [type_url::ENDPOINTS, type_url::LISTENER, type_url::ROUTE, type_url::EXTENSION_CONFIG, type_url::CLUSTER];

/// One client of a fleet.
#[derive(Debug)]
pub struct Follower {
    node: Node,
    kinds: BTreeMap<&'static str, Subscription>,
    /// Clusters that wait for their endpoints, and the response whose acknowledgement waits for them.
    warming: BTreeSet<String>,
    unanswered: Option<String>,
    /// Whether the next request is the first one of its stream.
    fresh: bool,
}

#[derive(Debug, Default)]
struct Subscription {
    /// Names that something refers to, with what refers to them. Empty for wildcards.
    wanted: BTreeMap<String, Vec<String>>,
    /// Names that the server has been told on this stream.
    told: BTreeSet<String>,
    held: BTreeMap<String, String>,
    /// Whether this stream has asked, and been answered.
    asked: bool,
    answered: bool,
}

impl Follower {
    /// A client that holds nothing.
    pub fn new(node: &str, fleet: &str) -> Self {
        let node =
            Node { id: node.to_owned(), cluster: fleet.to_owned(), user_agent_name: "envoy".to_owned() };
        let kinds = KINDS.into_iter().map(|kind| (kind, Subscription::default())).collect();
        Self { node, kinds, warming: BTreeSet::new(), unanswered: None, fresh: true }
    }

    /// What a new stream begins with.
    pub fn open(&mut self) -> Vec<DeltaRequest> {
        self.fresh = true;
        self.unanswered = None;
        self.warming.clear();
        for subscription in self.kinds.values_mut() {
            (subscription.asked, subscription.answered) = (false, false);
            subscription.told.clear();
        }
        KINDS.into_iter().filter_map(|kind| self.ask(kind)).collect()
    }

    /// Takes a response and gives what is to be sent: acknowledgements first.
    pub fn take(&mut self, response: &DeltaResponse) -> Result<Vec<DeltaRequest>> {
        let DeltaResponse { resources, type_url, nonce, removed, .. } = response;
        let kind = KINDS.into_iter().find(|kind| kind == type_url).context("a kind nobody asked for")?;
        let subscription = self.kinds.entry(kind).or_default();
        subscription.answered = true;
        for name in removed {
            subscription.held.remove(name);
        }
        for Resource { version, name, .. } in resources {
            subscription.held.insert(name.clone(), version.clone());
        }
        let mut requests = Vec::new();
        match kind {
            type_url::CLUSTER => {
                self.take_clusters(resources, removed)?;
                requests.extend(self.ask(type_url::ENDPOINTS));
                self.unanswered = Some(nonce.clone());
            }
            type_url::LISTENER => {
                requests.push(answer(kind, nonce));
                self.take_listeners(resources, removed)?;
                requests.extend(self.ask(type_url::ROUTE));
                requests.extend(self.ask(type_url::EXTENSION_CONFIG));
            }
            _ => {
                requests.push(answer(kind, nonce));
                if kind == type_url::ENDPOINTS {
                    self.warming.retain(|name| {
                        !resources.iter().any(|one| one.name == *name) && !removed.contains(name)
                    });
                }
            }
        }
        if self.warming.is_empty()
            && let Some(nonce) = self.unanswered.take()
        {
            requests.push(answer(type_url::CLUSTER, &nonce));
        }
        Ok(requests)
    }

    /// Whether everything that it has heard of is there and acknowledged.
    pub fn is_complete(&self) -> bool {
        let has = |kind: &str| {
            self.kinds
                .get(kind)
                .is_some_and(|one| one.answered && one.wanted.keys().all(|name| one.held.contains_key(name)))
        };
        let referred = [type_url::ENDPOINTS, type_url::ROUTE, type_url::EXTENSION_CONFIG];
        let unwanted = |kind: &str| self.kinds.get(kind).is_none_or(|one| one.wanted.is_empty());
        self.unanswered.is_none()
            && has(type_url::CLUSTER)
            && has(type_url::LISTENER)
            && referred.into_iter().all(|kind| unwanted(kind) || has(kind))
    }

    /// What it holds of a kind, with versions.
    pub fn held(&self, kind: &str) -> BTreeMap<String, String> {
        self.kinds.get(kind).map(|subscription| subscription.held.clone()).unwrap_or_default()
    }

    fn take_clusters(&mut self, resources: &[Resource], removed: &[String]) -> Result<()> {
        for Resource { name, resource, .. } in resources {
            let Some(Any { value, .. }) = resource else { continue };
            let cluster = Cluster::decode(value.clone()).with_context(|| format!("cluster {name}"))?;
            let endpoints: Vec<String> = cluster.endpoints().map(str::to_owned).into_iter().collect();
            self.warming.extend(endpoints.iter().cloned());
            self.refer(type_url::ENDPOINTS, name, &endpoints);
        }
        for name in removed {
            self.warming.remove(name);
            self.refer(type_url::ENDPOINTS, name, &[]);
        }
        Ok(())
    }

    fn take_listeners(&mut self, resources: &[Resource], removed: &[String]) -> Result<()> {
        for Resource { name, resource, .. } in resources {
            let Some(Any { value, .. }) = resource else { continue };
            let listener = Listener::decode(value.clone()).with_context(|| format!("listener {name}"))?;
            let (routes, extensions) = listener.references();
            self.refer(type_url::ROUTE, name, &routes);
            self.refer(type_url::EXTENSION_CONFIG, name, &extensions);
        }
        for name in removed {
            self.refer(type_url::ROUTE, name, &[]);
            self.refer(type_url::EXTENSION_CONFIG, name, &[]);
        }
        Ok(())
    }

    /// From now on `by` refers to these names and to no others.
    fn refer(&mut self, kind: &'static str, by: &str, names: &[String]) {
        let wanted = &mut self.kinds.entry(kind).or_default().wanted;
        for (name, referrers) in wanted.iter_mut() {
            if !names.contains(name) {
                referrers.retain(|referrer| referrer != by);
            }
        }
        for name in names {
            let referrers = wanted.entry(name.clone()).or_default();
            if !referrers.iter().any(|referrer| referrer == by) {
                referrers.push(by.to_owned());
            }
        }
    }

    /// The request that makes the server's idea of what is wanted the right one, if it is not.
    fn ask(&mut self, kind: &'static str) -> Option<DeltaRequest> {
        let wildcard = matches!(kind, type_url::CLUSTER | type_url::LISTENER);
        let subscription = self.kinds.entry(kind).or_default();
        let Subscription { wanted, told, held, asked, .. } = subscription;
        wanted.retain(|_, referrers| !referrers.is_empty());
        let unsubscribe: Vec<_> = told.iter().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in &unsubscribe {
            told.remove(name);
            held.remove(name);
        }
        let subscribe: Vec<_> = wanted.keys().filter(|name| !told.contains(*name)).cloned().collect();
        told.extend(subscribe.iter().cloned());
        let first = !*asked;
        if subscribe.is_empty() && unsubscribe.is_empty() && !(wildcard && first) {
            return None;
        }
        subscription.asked = true;
        let held = subscription.held.iter().filter(|_| first);
        let initial_resource_versions =
            held.map(|(key, value)| Entry { key: key.clone(), value: value.clone() }).collect();
        let node = std::mem::take(&mut self.fresh).then(|| self.node.clone());
        Some(DeltaRequest {
            node,
            type_url: kind.to_owned(),
            subscribe,
            unsubscribe,
            initial_resource_versions,
            ..DeltaRequest::default()
        })
    }
}

fn answer(kind: &str, nonce: &str) -> DeltaRequest {
    DeltaRequest { type_url: kind.to_owned(), nonce: nonce.to_owned(), ..DeltaRequest::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str) -> Resource {
        // name = 1, type = 2 (EDS), eds_cluster_config = 3, as a server would encode them.
        let mut value = vec![0x0a, u8::try_from(name.len()).unwrap()];
        value.extend(name.bytes());
        value.extend([0x10, 3, 0x1a, 0]);
        resource(name, value)
    }

    fn resource(name: &str, value: Vec<u8>) -> Resource {
        let resource = Some(Any { type_url: String::new(), value: value.into() });
        Resource { version: "1".into(), resource, name: name.into() }
    }

    fn response(kind: &str, nonce: &str, resources: Vec<Resource>) -> DeltaResponse {
        DeltaResponse { resources, type_url: kind.into(), nonce: nonce.into(), ..DeltaResponse::default() }
    }

    #[test]
    fn clusters_are_acknowledged_when_their_endpoints_are_there() {
        let mut follower = Follower::new("one", "edge");
        let first = follower.open();
        assert_eq!(
            first.iter().map(|one| &*one.type_url).collect::<Vec<_>>(),
            [type_url::LISTENER, type_url::CLUSTER]
        );
        assert!(first[0].node.is_some() && first[1].node.is_none());
        let answers = follower.take(&response(type_url::CLUSTER, "1", vec![cluster("a")])).unwrap();
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(
            (&*answers[0].type_url, &*answers[0].subscribe),
            (type_url::ENDPOINTS, &["a".to_owned()][..])
        );
        let answers =
            follower.take(&response(type_url::ENDPOINTS, "2", vec![resource("a", Vec::new())])).unwrap();
        let nonces: Vec<_> = answers.iter().map(|one| &*one.nonce).collect();
        assert_eq!(nonces, ["2", "1"]);
        assert!(!follower.is_complete(), "it has no listeners yet");
        follower.take(&response(type_url::LISTENER, "3", Vec::new())).unwrap();
        assert!(follower.is_complete());
    }

    #[test]
    fn a_new_stream_names_what_is_held() {
        let mut follower = Follower::new("one", "edge");
        follower.open();
        follower.take(&response(type_url::CLUSTER, "1", vec![cluster("a")])).unwrap();
        follower.take(&response(type_url::ENDPOINTS, "2", vec![resource("a", Vec::new())])).unwrap();
        let again = follower.open();
        assert_eq!(again[0].type_url, type_url::ENDPOINTS);
        assert_eq!(again[0].initial_resource_versions, [Entry { key: "a".into(), value: "1".into() }]);
        assert_eq!(again[0].subscribe, ["a"]);
    }

    #[test]
    fn endpoints_of_a_removed_cluster_are_not_wanted_any_more() {
        let mut follower = Follower::new("one", "edge");
        follower.open();
        follower.take(&response(type_url::CLUSTER, "1", vec![cluster("a")])).unwrap();
        follower.take(&response(type_url::ENDPOINTS, "2", vec![resource("a", Vec::new())])).unwrap();
        let removal =
            DeltaResponse { removed: vec!["a".into()], ..response(type_url::CLUSTER, "3", Vec::new()) };
        let answers = follower.take(&removal).unwrap();
        assert_eq!(answers[0].unsubscribe, ["a"]);
        assert_eq!(answers[1].nonce, "3");
    }
}
