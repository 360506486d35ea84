//! One test for each line of the protocol's rules that the state machine answers for.

use std::collections::{HashMap, HashSet};

use envoy_types::pb::google::protobuf::StringValue;

use super::*;
use crate::snapshot::{Form, Resource, ResourceSet};

mod filters;
mod load;
mod order;
mod reconnect;
mod requests;
mod rollback;
mod secrets;
mod subscriptions;

use Kind::{Cluster, Endpoints, ExtensionConfig, Listener, Route};

/// Names of resources, each with its content.
type Contents<'a> = &'a [(&'a str, &'a str)];

fn set(kind: Kind, contents: Contents<'_>) -> Arc<ResourceSet> {
    let resource = |(name, value): &(&str, &str)| {
        Arc::new(match kind {
            ExtensionConfig => Resource::filter(name, &(*value).into(), &"5ha".into()),
            _ => Resource::new(name, &StringValue { value: (*value).to_owned() }),
        })
    };
    Arc::new(ResourceSet::new(contents.iter().map(resource)))
}

fn snapshot(kinds: &[(Kind, Contents<'_>)]) -> Arc<Snapshot> {
    Arc::new(
        kinds.iter().fold(Snapshot::default(), |snapshot, (kind, contents)| {
            snapshot.with(*kind, set(*kind, contents))
        }),
    )
}

/// A client at the other end of a stream. Requests are made up by the tests, responses collected.
struct Client {
    stream: Stream,
    nonces: HashMap<Kind, String>,
}

/// What a response said: its kind, the names in it, and the names removed.
type Said = (Kind, Vec<String>, Vec<String>);

fn said(kind: Kind, sent: &[&str], removed: &[&str]) -> Said {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    (kind, owned(sent), owned(removed))
}

fn node() -> Node {
    Node { id: "edge-1".into(), fleet: "edge".into(), user_agent: "envoy".into(), ..Node::default() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn exactly(wanted: &[&str]) -> Interest {
    Interest::Exactly { names: names(wanted), version: String::new() }
}

fn change(subscribe: &[&str], unsubscribe: &[&str]) -> Interest {
    Interest::Change { subscribe: names(subscribe), unsubscribe: names(unsubscribe), holds: HashMap::new() }
}

fn holding(subscribe: &[&str], holds: &[(&str, &str)]) -> Interest {
    let holds = holds.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
    Interest::Change { subscribe: names(subscribe), unsubscribe: Vec::new(), holds }
}

fn version(kind: Kind, snapshot: &Snapshot, name: &str) -> String {
    snapshot.set(kind).get(name).unwrap().version().to_string()
}

impl Client {
    fn with(variant: Variant, options: Options, snapshot: Option<&Arc<Snapshot>>) -> Self {
        let mut stream = Stream::new(variant, options);
        if let Some(snapshot) = snapshot {
            stream.update(Arc::clone(snapshot));
        }
        Self { stream, nonces: HashMap::new() }
    }

    fn new(variant: Variant, snapshot: &Arc<Snapshot>) -> Self {
        Self::with(
            variant,
            Options { only: None, legacy_wildcard: true, seed: 0, secrets: true },
            Some(snapshot),
        )
    }

    fn delta(snapshot: &Arc<Snapshot>) -> Self {
        Self::new(Variant::Delta, snapshot)
    }

    fn state(snapshot: &Arc<Snapshot>) -> Self {
        Self::new(Variant::StateOfTheWorld, snapshot)
    }

    fn request(kind: Kind, nonce: &str, interest: Interest, error: Option<&str>) -> Request {
        Request {
            node: Some(node()),
            type_url: kind.type_url().to_owned(),
            nonce: nonce.to_owned(),
            error: error.map(ToOwned::to_owned),
            interest,
            locators: false,
        }
    }

    /// A request that answers nothing.
    fn ask(&mut self, kind: Kind, interest: Interest) -> Event {
        self.stream.receive(Self::request(kind, "", interest, None)).unwrap()
    }

    /// A request that answers the latest response.
    fn answer(&mut self, kind: Kind, interest: Interest, error: Option<&str>) -> Event {
        let nonce = self.nonces.get(&kind).cloned().unwrap_or_default();
        self.stream.receive(Self::request(kind, &nonce, interest, error)).unwrap()
    }

    fn next(&mut self) -> Option<Response> {
        let response = self.stream.respond()?;
        self.nonces.insert(response.kind, response.nonce.clone());
        let unique: HashSet<_> = response.resources.iter().map(Delivery::name).collect();
        assert_eq!(unique.len(), response.resources.len(), "15: a name twice in one response");
        Some(response)
    }

    /// Everything that is due without anything being acknowledged.
    fn due(&mut self) -> Vec<Said> {
        std::iter::from_fn(|| self.next()).map(|response| Self::said(&response)).collect()
    }

    fn said(response: &Response) -> Said {
        let sent = response.resources.iter().map(|resource| resource.name().to_string()).collect();
        (response.kind, sent, response.removed.iter().map(ToString::to_string).collect())
    }

    /// Delta: everything that is due, each response acknowledged before the next is asked for.
    fn settle(&mut self) -> Vec<Said> {
        let mut all = Vec::new();
        while let Some(response) = self.next() {
            all.push(Self::said(&response));
            self.answer(response.kind, change(&[], &[]), None);
        }
        all
    }

    /// State of the world: as `settle`, keeping to the names.
    fn settle_names(&mut self, wanted: &[&str]) -> Vec<Said> {
        let mut all = Vec::new();
        while let Some(response) = self.next() {
            all.push(Self::said(&response));
            self.answer(response.kind, exactly(wanted), None);
        }
        all
    }

    fn update(&mut self, snapshot: &Arc<Snapshot>) {
        self.stream.update(Arc::clone(snapshot));
    }
}
