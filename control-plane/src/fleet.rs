//! The proxies that are connected: who they are, what each was sent, has accepted and has refused, and whether what was published
//! last is in force everywhere.
//!
//! Streams write through a [`Link`]; whoever shows the state reads a [`FleetView`]. Nothing here decides what a proxy is sent: that is
//! [`crate::publish`], which reads the same state.

pub mod figures;
mod proxy;
mod refusals;
pub mod time;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::resource::Kind;
use crate::snapshot::{Snapshot, Version};
use crate::stream::Node;
use crate::telemetry::trace::{Stage, Trace};

use self::figures::Figures;
use self::proxy::Standing;
pub(crate) use self::proxy::{Answer, LinkId, Proxy};
pub use self::proxy::{Cause, Refused};
use self::refusals::Refusals;
pub use self::view::{FleetView, ProxyView, PushView, RefusedView, TypeView};

/// The registry. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Fleets {
    registry: Arc<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    fleets: Mutex<BTreeMap<String, Fleet>>,
    /// Counts changes, so that readers can wait for the next one.
    changes: watch::Sender<u64>,
    links: AtomicU64,
    figures: Figures,
    refusals: Refusals,
}

/// One fleet: what it should have, and who is connected.
#[derive(Debug, Default)]
struct Fleet {
    published: Option<Published>,
    proxies: BTreeMap<LinkId, Arc<Proxy>>,
}

/// What a fleet should have.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// The store's revision of the newest documents.
    pub(crate) revision: u64,
    /// What every proxy but the canaries gets.
    pub(crate) snapshot: Arc<Snapshot>,
    /// How far the newest documents have come.
    pub(crate) push: Push,
}

/// How far the newest documents have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Push {
    /// Every proxy gets them.
    Everywhere,
    /// Some proxies try them; the others have those of an earlier revision.
    Trying {
        /// The revision that the others have.
        in_use: u64,
        /// Who tries.
        canaries: Vec<LinkId>,
    },
    /// A canary has refused them.
    Stopped {
        /// The revision that every proxy has.
        in_use: u64,
        /// The `node.id` of who refused.
        by: String,
        /// What it refused.
        kind: Kind,
        /// And why.
        refused: Refused,
    },
}

impl Fleets {
    /// Enters a proxy whose stream has said who it is; it stays until the [`Link`] is dropped.
    pub fn connected(&self, node: &Arc<Node>, peer: Option<SocketAddr>) -> Link {
        let id = LinkId(self.registry.links.fetch_add(1, Ordering::Relaxed));
        let proxy = Arc::new(Proxy::new(node, peer));
        let mut fleets = self.registry.lock();
        fleets.entry(node.fleet.clone()).or_default().proxies.insert(id, Arc::clone(&proxy));
        drop(fleets);
        self.registry.changed();
        let trial = proxy.trial.subscribe();
        Link { id, proxy, trial, registry: Arc::clone(&self.registry) }
    }

    /// What a proxy has refused, on whatever stream, and does not have anything newer instead of.
    pub fn refused_by(&self, node: &Node) -> BTreeMap<Kind, Refused> {
        self.registry.refusals.of(node)
    }

    /// Every fleet that has a Gateway or a proxy, by name.
    pub fn view(&self) -> Vec<FleetView> {
        let fleets: Vec<_> = {
            let fleets = self.registry.lock();
            fleets.iter().map(|(name, fleet)| (name.clone(), fleet.published.clone(), fleet.all())).collect()
        };
        // Made outside the lock: with ten thousand proxies it takes a while that no stream should wait.
        let view = |(name, published, links): (_, _, Vec<_>)| view::fleet(name, published, &by_node(&links));
        fleets.into_iter().map(view).collect()
    }

    /// What was counted.
    pub fn figures(&self) -> &Figures {
        &self.registry.figures
    }

    /// Tells of changes: the number grows with each. A slow reader sees one change where there were many.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.registry.changes.subscribe()
    }

    /// Records what fleets should have from now on. A fleet that is not among them has no Gateway any more.
    pub(crate) fn publish(&self, published: &BTreeMap<String, Published>) {
        let mut fleets = self.registry.lock();
        fleets.retain(|name, fleet| published.contains_key(name) || !fleet.proxies.is_empty());
        for (name, fleet) in fleets.iter_mut() {
            fleet.published = published.get(name).cloned();
        }
        for (name, published) in published {
            if !fleets.contains_key(name) {
                let fleet = Fleet { published: Some(published.clone()), proxies: BTreeMap::new() };
                fleets.insert(name.clone(), fleet);
            }
        }
        drop(fleets);
        self.registry.changed();
    }

    /// Gives these proxies of a fleet `snapshot` to try, and all others what the fleet has. A proxy that uses several streams is named by
    /// one of them.
    pub(crate) fn offer(&self, fleet: &str, canaries: &[LinkId], snapshot: Option<&Arc<Snapshot>>) {
        let proxies = self.registry.lock().get(fleet).map(Fleet::all).unwrap_or_default();
        let named = proxies.iter().filter(|(id, _)| canaries.contains(id));
        let named: BTreeSet<_> = named.map(|(_, proxy)| proxy.node.id.as_str()).collect();
        for (_, proxy) in &proxies {
            proxy.offer(snapshot.filter(|_| named.contains(proxy.node.id.as_str())));
        }
    }

    /// How each proxy of a fleet stands to a snapshot that some of them try, in the order in which they connected.
    pub(crate) fn answers(
        &self,
        fleet: &str,
        snapshot: &Arc<Snapshot>,
        other: &Snapshot,
    ) -> Vec<(LinkId, Answer)> {
        let links = self.registry.lock().get(fleet).map(Fleet::all).unwrap_or_default();
        let mut answers: Vec<(LinkId, Answer)> = by_node(&links)
            .into_values()
            .filter_map(|streams| {
                let answers = streams.iter().map(|(_, proxy)| proxy.answer(snapshot, other));
                Some((streams.first()?.0, answers.reduce(Answer::and)?))
            })
            .collect();
        answers.sort_by_key(|(id, _)| *id);
        answers
    }
}

/// The streams of one proxy, the oldest first.
type Streams<'a> = Vec<(LinkId, &'a Arc<Proxy>)>;

/// The streams of each proxy, by `node.id`, the oldest first. A stream all of whose kinds the proxy has asked for again on a newer one is not
/// among them: the proxy has given it up, and the connection has yet to be found dead.
fn by_node(links: &[(LinkId, Arc<Proxy>)]) -> BTreeMap<&str, Streams<'_>> {
    let mut nodes: BTreeMap<&str, (BTreeSet<Kind>, Streams<'_>)> = BTreeMap::new();
    for (id, proxy) in links.iter().rev() {
        let (newer, streams) = nodes.entry(&proxy.node.id).or_default();
        let kinds = proxy.kinds();
        if streams.is_empty() || kinds.is_empty() || kinds.iter().any(|kind| !newer.contains(kind)) {
            newer.extend(kinds);
            streams.push((*id, proxy));
        }
    }
    let oldest_first = |(node, (_, mut streams)): (_, (_, Vec<_>))| {
        streams.reverse();
        (node, streams)
    };
    nodes.into_iter().map(oldest_first).collect()
}

impl Fleet {
    fn all(&self) -> Vec<(LinkId, Arc<Proxy>)> {
        self.proxies.iter().map(|(id, proxy)| (*id, Arc::clone(proxy))).collect()
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Fleet>> {
        self.fleets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }
}

/// What one stream tells about its proxy. Dropping it means that the proxy is gone.
#[derive(Debug)]
pub struct Link {
    id: LinkId,
    proxy: Arc<Proxy>,
    trial: watch::Receiver<Option<Arc<Snapshot>>>,
    registry: Arc<Registry>,
}

impl Link {
    /// The stream's record.
    pub(crate) fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// The proxy wants resources of this kind on this stream.
    pub fn subscribed(&self, kind: Kind) {
        let recalled = self.registry.refusals.of(&self.proxy.node).remove(&kind);
        self.update(|standing| standing.subscribed(kind, recalled));
    }

    /// A response with this version has been handed to the transport, as part of a change.
    pub fn sent(&self, kind: Kind, version: &Version, change: &Trace) {
        self.registry.figures.sent(kind);
        self.update(|standing| standing.sent(kind, version, change));
    }

    /// The proxy has this version in force; `refuses` says whether it still refuses something else of this kind.
    pub fn accepted(&self, kind: Kind, version: &Version, refuses: bool) {
        let answered = self.proxy.change(|standing| standing.answered(kind, version));
        let latency = answered.map(|sent| {
            let latency = sent.at.elapsed();
            sent.change.note_some(|| self.push(kind, version, latency).answered("ack"));
            latency
        });
        self.registry.figures.accepted(kind, latency);
        if !refuses {
            self.registry.refusals.clear(&self.proxy.node, kind);
        }
        self.update(|standing| standing.accepted(kind, version, refuses));
    }

    /// The proxy has refused something; it keeps what it had.
    pub fn refused(&self, kind: Kind, refused: Refused) {
        if let Some(sent) = self.proxy.change(|standing| standing.answered(kind, &refused.version)) {
            let latency = sent.at.elapsed();
            sent.change
                .note(|| self.push(kind, &refused.version, latency).failed("nack", refused.reason.clone()));
        }
        self.registry.figures.refused(kind);
        self.registry.refusals.record(&self.proxy.node, kind, refused.clone());
        self.update(|standing| standing.refused(kind, refused));
    }

    /// The proxy has been sent everything of this snapshot that it wants, and has answered all of it, with yes or no; `refuses` says of which
    /// kinds it still refuses something.
    pub fn settled(&self, snapshot: &Arc<Snapshot>, refuses: impl Fn(Kind) -> bool) {
        self.update(|standing| standing.settled(snapshot, refuses));
    }

    /// The snapshot that this proxy is to try in place of the fleet's.
    pub fn trial(&mut self) -> Option<Arc<Snapshot>> {
        self.trial.borrow_and_update().clone()
    }

    /// Waits until [`Link::trial`] is another one.
    pub async fn trial_changed(&mut self) {
        if self.trial.changed().await.is_err() {
            // The sender lives as long as this link.
            std::future::pending::<()>().await;
        }
    }

    /// A response and the answer to it, for a trace.
    fn push(&self, kind: Kind, version: &Version, latency: std::time::Duration) -> Stage {
        Stage::took("push", latency)
            .sent()
            .with("spillway.node", self.proxy.node.id.clone())
            .with("spillway.fleet", self.proxy.node.fleet.clone())
            .with("spillway.type_url", kind.type_url())
            .with("spillway.version", version.to_string())
    }

    fn update(&self, change: impl FnOnce(&mut Standing) -> bool) {
        if self.proxy.change(change) {
            self.registry.changed();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut fleets = self.registry.lock();
        if let Some(fleet) = fleets.get_mut(&self.proxy.node.fleet) {
            fleet.proxies.remove(&self.id);
            if fleet.proxies.is_empty() && fleet.published.is_none() {
                fleets.remove(&self.proxy.node.fleet);
            }
        }
        drop(fleets);
        self.registry.changed();
    }
}

#[cfg(test)]
mod tests;
