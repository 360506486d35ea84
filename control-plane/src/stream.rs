//! One stream of the discovery protocol, both variants, aggregated or for one kind: requests and snapshots in, responses out.
//!
//! A pure state machine: no sockets, no tasks, no clock. The adapter in [`crate::discovery`] feeds it and sends what [`Stream::respond`]
//! returns, asking only when there is room to send.
//!
//! **Order.** Updates go out cluster first (see [`Kind`]); listeners, routes and extension configs wait until every cluster update has
//! been answered, because Envoy answers when the new clusters are warm. Removals come last and wait until everything that could still
//! refer to the removed resource has been accepted: a proxy that refused the new routes still uses the old clusters.
//!
//! **Reconnects.** Envoy keeps silent about clusters while one of them waits for its endpoints. If the stream breaks then, the new one is
//! asked for listeners and routes at once and for clusters only later: see [`Stream::awaits_clusters`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::resource::Kind;
use crate::snapshot::{Name, Snapshot, Version};
use crate::subscription::{Delivery, Draft, Interest, Refused, Reply, Standing, Subscription, Variant};

/// Names one stream may subscribe to, over all kinds. It bounds what a client can make this process remember.
const MAX_NAMES: usize = 50_000;

/// Longest name that is taken, in bytes.
const MAX_NAME_LENGTH: usize = 1_024;

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Unique among the fleet's proxies.
    pub id: String,
    /// `node.cluster`: which fleet's snapshot this proxy gets.
    pub fleet: String,
    /// `node.locality.zone`: where it runs.
    pub zone: String,
    /// `node.user_agent_name`: `envoy`, `gRPC Python` and so on.
    pub user_agent: String,
    /// A module on the proxy's own disk, instead of the one served here.
    pub filter_path: Option<String>,
}

/// A request in the terms of both variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Needed in a stream's first request only.
    pub node: Option<Node>,
    /// The kind of resource; may be empty where the service implies it.
    pub type_url: String,
    /// The response that is answered, if one is.
    pub nonce: String,
    /// Set exactly in refusals: what the client says is wrong.
    pub error: Option<String>,
    /// What is wanted.
    pub interest: Interest,
    /// Whether resources were named by locators, which are not served.
    pub locators: bool,
}

/// A response in the terms of both variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The kind of resource.
    pub kind: Kind,
    /// Unique on this stream.
    pub nonce: String,
    /// What the client will have in force.
    pub version: Version,
    /// In the order of names.
    pub resources: Vec<Delivery>,
    /// Names that do not exist (any more). Delta alone says this.
    pub removed: Vec<Name>,
}

/// What a request turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The first request for a kind.
    Subscribed(Kind),
    /// A change of interest, or nothing new.
    Changed(Kind),
    /// The version is in force.
    Accepted(Kind, Version),
    /// The client refused a response, and what it said.
    Refused(Kind, Refused, String),
    /// It answers something older than what was sent last.
    Stale(Kind),
    /// A kind that is not served here.
    NotServed(String),
}

/// A request after which the stream can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The first request carried no node, or one without a fleet.
    #[error("the first request of a stream must carry a node with an id and a cluster (the fleet)")]
    NoNode,
    /// An aggregated stream was asked for nothing in particular.
    #[error("a request on an aggregated stream must carry a type_url")]
    NoType,
    /// A stream for one kind was asked for another.
    #[error("this service serves {served}, not {asked}")]
    WrongType {
        /// The service's type URL.
        served: &'static str,
        /// The request's.
        asked: String,
    },
    /// `xdstp://` names, or locators.
    #[error("resource locators and xdstp:// names are not served here; use plain resource names")]
    Locator,
    /// Too many names, or one that is too long.
    #[error("a stream may subscribe to at most {MAX_NAMES} names of at most {MAX_NAME_LENGTH} bytes")]
    TooManyNames,
}

/// Things that differ by client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The kind that the service implies; `None` on aggregated streams.
    pub only: Option<Kind>,
    /// Whether never having named anything means everything. Right for Envoy; gRPC clients always name what they want.
    pub legacy_wildcard: bool,
    /// Differs from stream to stream.
    pub seed: u32,
    /// Whether secrets are served: not to those who could be anybody.
    pub secrets: bool,
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    variant: Variant,
    options: Options,
    node: Option<Arc<Node>>,
    snapshot: Option<Arc<Snapshot>>,
    /// Boxed, because a map reserves room for eleven at a time and most clients have five.
    subscriptions: BTreeMap<Kind, Box<Subscription>>,
    refused: BTreeMap<Kind, Refused>,
    /// The client may still subscribe to clusters, as far as anybody knows.
    clusters_expected: bool,
    nonces: u64,
}

impl Stream {
    /// A stream that has just been opened.
    pub fn new(variant: Variant, options: Options) -> Self {
        Self {
            variant,
            options,
            node: None,
            snapshot: None,
            subscriptions: BTreeMap::new(),
            refused: BTreeMap::new(),
            clusters_expected: true,
            nonces: 0,
        }
    }

    /// The client, once its first request is there.
    pub fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }

    /// The variant of the protocol.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// What the client is to have.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// What the client has, wants or refuses, resource by resource.
    pub fn standings(&self) -> impl Iterator<Item = (Kind, &Name, Standing<'_>)> {
        self.subscriptions.iter().flat_map(|(kind, subscription)| {
            subscription.standings().map(move |(name, standing)| (*kind, name, standing))
        })
    }

    /// Takes the node from a stream's first request.
    ///
    /// Separate from [`Stream::receive`], because what the node refused earlier has to be recalled between the two.
    pub fn identify(&mut self, request: &mut Request) -> Result<&Arc<Node>, StreamError> {
        let node = match (self.node.take(), request.node.take()) {
            (Some(node), _) => node,
            (None, Some(node)) if !node.id.is_empty() && !node.fleet.is_empty() => {
                self.options.legacy_wildcard &= !node.user_agent.starts_with("gRPC");
                Arc::new(node)
            }
            (None, _) => return Err(StreamError::NoNode),
        };
        Ok(self.node.insert(node))
    }

    /// Tells the stream what its node refused on earlier streams.
    pub fn recall(&mut self, refused: impl IntoIterator<Item = (Kind, Refused)>) {
        // Whether a filter's module has been downloaded meanwhile is found out by sending it.
        self.refused.extend(refused.into_iter().filter(|(kind, _)| *kind != Kind::ExtensionConfig));
    }

    /// When [`Stream::retry`] should be called, if at all, now that an extension config has been answered.
    pub fn retry_in(&self) -> Option<Duration> {
        self.subscriptions.values().filter_map(|one| one.retry_in()).min()
    }

    /// Makes what was refused and may be accepted by now, or has to be confirmed, due once more.
    pub fn retry(&mut self) {
        for subscription in self.subscriptions.values_mut().filter(|one| one.retry_in().is_some()) {
            subscription.retry();
        }
    }

    /// Takes a request.
    pub fn receive(&mut self, mut request: Request) -> Result<Event, StreamError> {
        self.identify(&mut request)?;
        let event = self.apply(request)?;
        let names: usize = self.subscriptions.values().map(|one| one.named_count()).sum();
        if names > MAX_NAMES { Err(StreamError::TooManyNames) } else { Ok(event) }
    }

    fn apply(&mut self, request: Request) -> Result<Event, StreamError> {
        let Some(kind) = self.kind_of(&request.type_url)? else {
            let implied = self.options.only.map(|kind| kind.type_url().to_owned());
            return Ok(Event::NotServed(implied.unwrap_or(request.type_url)));
        };
        check_names(&request)?;
        let Request { nonce, error, interest, .. } = request;
        let legacy_wildcard = self.options.legacy_wildcard;
        let Some(subscription) = self.subscriptions.get_mut(&kind) else {
            let refused = self.refused.remove(&kind);
            let subscription = Subscription::open(kind, self.variant, interest, self.options, refused);
            self.subscriptions.insert(kind, Box::new(subscription));
            return Ok(Event::Subscribed(kind));
        };
        let reply = match &interest {
            Interest::Exactly { names, .. } => {
                if !subscription.is_current(&nonce) {
                    return Ok(Event::Stale(kind));
                }
                if error.is_none() && subscription.is_repetition(&nonce, names) {
                    subscription.repeated();
                }
                let reply = subscription.reply(&nonce, error.is_some());
                subscription.change(interest, legacy_wildcard);
                reply
            }
            Interest::Change { .. } => {
                let reply = subscription.reply(&nonce, error.is_some());
                subscription.change(interest, legacy_wildcard);
                reply
            }
        };
        Ok(match reply {
            Reply::None if !nonce.is_empty() && !subscription.is_current(&nonce) => Event::Stale(kind),
            Reply::None => Event::Changed(kind),
            Reply::Accepted(version) => Event::Accepted(kind, version),
            Reply::Refused(refused) => Event::Refused(kind, refused, error.unwrap_or_default()),
        })
    }

    fn kind_of(&self, type_url: &str) -> Result<Option<Kind>, StreamError> {
        let served = |kind| kind != Kind::Secret || self.options.secrets;
        match self.options.only {
            None if type_url.is_empty() => Err(StreamError::NoType),
            None => Ok(Kind::of(type_url).filter(|kind| served(*kind))),
            Some(only) if type_url.is_empty() || type_url == only.type_url() => {
                Ok(Some(only).filter(|kind| served(*kind)))
            }
            Some(only) => Err(StreamError::WrongType { served: only.type_url(), asked: type_url.to_owned() }),
        }
    }

    /// Takes a newer snapshot. One that was never sent is forgotten.
    pub fn update(&mut self, snapshot: Arc<Snapshot>) {
        self.subscriptions.values_mut().for_each(|one| one.refresh());
        self.snapshot = Some(snapshot);
    }

    /// The response that is due now, if any; to be called again until there is none.
    pub fn respond(&mut self) -> Option<Response> {
        let snapshot = Arc::clone(self.snapshot.as_ref()?);
        if let Some(clusters) = self.subscriptions.get_mut(&Kind::Cluster) {
            clusters.recognize(|version| snapshot.clusters_known_as(version));
        }
        for kind in Kind::ALL {
            let open = self.all(waits_for(kind), |_, subscription| subscription.is_answered());
            let draft = self.subscriptions.get_mut(&kind).and_then(|s| s.updates(snapshot.set(kind), open));
            if let Some(draft) = draft {
                return Some(self.send(kind, draft));
            }
        }
        for kind in REMOVALS {
            let settled = self.all(waits_for(kind), |_, subscription| subscription.is_answered())
                && self
                    .all(referrers(kind), |kind, subscription| subscription.is_accepted(snapshot.set(kind)));
            if !settled {
                // What comes after may be in use by what can't be removed yet.
                break;
            }
            let draft = self.subscriptions.get_mut(&kind).and_then(|s| s.removals(snapshot.set(kind)));
            if let Some(draft) = draft {
                return Some(self.send(kind, draft));
            }
        }
        None
    }

    /// Whether the client is an Envoy that reconnected, works with listeners that it has from this service, and has yet to ask for the
    /// clusters behind them. Until it has, or [`Stream::expect_no_clusters`], nothing is pushed that may refer to a cluster.
    ///
    /// Who takes no listeners from this stream may well have its clusters from elsewhere, and gRPC asks for clusters only after it has seen
    /// the routes: neither is waited for.
    pub fn awaits_clusters(&self) -> bool {
        self.clusters_expected
            && self.options.only.is_none()
            && self.options.legacy_wildcard
            && !self.subscriptions.contains_key(&Kind::Cluster)
            && self.subscriptions.get(&Kind::Listener).is_some_and(|listeners| listeners.is_resumed())
    }

    /// The client has been waited for long enough: it has its clusters from elsewhere.
    pub fn expect_no_clusters(&mut self) {
        self.clusters_expected = false;
    }

    /// Whether the client has answered everything that it was sent. Once [`Stream::respond`] has nothing more to send, it has then
    /// answered all of the newest snapshot that it wants.
    pub fn is_answered(&self) -> bool {
        !self.subscriptions.is_empty()
            && !self.awaits_clusters()
            && self.subscriptions.values().all(|one| one.is_answered())
    }

    /// Whether something of this kind that was refused has not been replaced by something that was accepted.
    pub fn refuses(&self, kind: Kind) -> bool {
        self.subscriptions.get(&kind).is_some_and(|one| one.refuses())
    }

    /// Whether every subscription to one of `kinds` is as `condition` says. One that is only expected is not.
    fn all(&self, kinds: &[Kind], condition: impl Fn(Kind, &Subscription) -> bool) -> bool {
        kinds.iter().all(|kind| match self.subscriptions.get(kind) {
            Some(subscription) => condition(*kind, subscription),
            None => *kind != Kind::Cluster || !self.awaits_clusters(),
        })
    }

    fn send(&mut self, kind: Kind, draft: Draft) -> Response {
        self.nonces += 1;
        let nonce = self.nonces.to_string();
        if let Some(subscription) = self.subscriptions.get_mut(&kind) {
            subscription.sent(&draft, &nonce);
        }
        let Draft { version, resources, removed, changed } = draft;
        if kind == Kind::Cluster {
            // A changed cluster is built anew and waits for endpoints, even if they are the same as before.
            if let Some(endpoints) = self.subscriptions.get_mut(&Kind::Endpoints) {
                for name in &changed {
                    endpoints.demand(name);
                }
            }
        }
        Response { kind, nonce, version, resources, removed }
    }
}

fn check_names(request: &Request) -> Result<(), StreamError> {
    let names = match &request.interest {
        Interest::Exactly { names, .. } => names,
        Interest::Change { subscribe, .. } => subscribe,
    };
    if request.locators || names.iter().any(|name| name.starts_with("xdstp:")) {
        return Err(StreamError::Locator);
    }
    if names.iter().any(|name| name.len() > MAX_NAME_LENGTH) {
        return Err(StreamError::TooManyNames);
    }
    Ok(())
}

/// The kinds whose updates must have been answered before updates of `kind` are pushed.
fn waits_for(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::Secret | Kind::Cluster | Kind::Endpoints => &[],
        Kind::Listener | Kind::Route | Kind::ExtensionConfig => &[Kind::Cluster],
    }
}

/// The order of removals: what refers goes before what is referred to.
const REMOVALS: [Kind; 6] =
    [Kind::Listener, Kind::Route, Kind::ExtensionConfig, Kind::Cluster, Kind::Endpoints, Kind::Secret];

/// The kinds that can refer to resources of `kind`: until their newest versions are accepted, nothing of `kind` is removed.
fn referrers(kind: Kind) -> &'static [Kind] {
    match kind {
        // A listener is replaced by another listener.
        Kind::Listener | Kind::Route | Kind::ExtensionConfig => &[Kind::Listener],
        Kind::Cluster => &[Kind::Listener, Kind::Route],
        Kind::Endpoints => &[Kind::Cluster],
        Kind::Secret => &[Kind::Listener, Kind::Cluster],
    }
}

#[cfg(test)]
mod tests;
