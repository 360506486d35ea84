//! What is known about one connected proxy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::resource::Kind;
use crate::snapshot::{Name, Snapshot, Version};
use crate::stream::Node;

/// Names a stream for as long as this process lives. A later one is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u64);

/// What a proxy has refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The version of the response.
    pub version: Version,
    /// Why, in the proxy's own words, redacted.
    pub reason: String,
    /// What the response contained, with versions.
    pub resources: Arc<[(Name, Version)]>,
    /// Where it comes from, as far as that can be told.
    pub cause: Option<Cause>,
    /// It will be offered once more without an edit, because the reason may have passed: a filter's module that was being downloaded.
    pub retried: bool,
}

/// The place in the documents that a refusal is traced back to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Cause {
    /// Kind and name, such as `Route orders`.
    pub document: String,
    /// The field, such as `spec.rules[0].backendRefs[1]`; empty where the whole document is meant.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub field: String,
}

/// How a proxy stands to a snapshot that it may have been given to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has just connected: it has not answered everything of any snapshot yet.
    Connecting,
    /// Nothing yet.
    None,
    /// It has answered everything and refused nothing.
    Accepted,
    /// It has refused something that is in this snapshot and not in the other one.
    Refused(String, Kind, Refused),
}

impl Answer {
    /// The answer of a proxy that uses several streams.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (refused @ Self::Refused(..), _) | (_, refused @ Self::Refused(..)) => refused,
            (Self::Connecting, _) | (_, Self::Connecting) => Self::Connecting,
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Accepted, Self::Accepted) => Self::Accepted,
        }
    }
}

/// One connected proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) node: Node,
    pub(super) address: Option<SocketAddr>,
    pub(super) since: SystemTime,
    pub(super) trial: watch::Sender<Option<Arc<Snapshot>>>,
    standing: Mutex<Standing>,
}

/// What it has been sent and what it said.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    pub(super) types: BTreeMap<Kind, TypeStanding>,
    /// The newest snapshot of which it has answered everything.
    pub(super) settled: Option<Arc<Snapshot>>,
}

/// The same for one type of resource.
#[derive(Debug, Clone)]
pub(super) struct TypeStanding {
    pub(super) sent: Option<Version>,
    pub(super) accepted: Option<Version>,
    pub(super) refused: Option<Refused>,
    /// When any of these changed last.
    pub(super) since: SystemTime,
}

impl Proxy {
    pub(super) fn new(node: &Node, address: Option<SocketAddr>) -> Self {
        Self {
            node: node.clone(),
            address,
            since: SystemTime::now(),
            trial: watch::Sender::new(None),
            standing: Mutex::default(),
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Standing) -> bool) -> bool {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives it something to try, or takes that back.
    pub(super) fn offer(&self, offered: Option<&Arc<Snapshot>>) {
        self.trial.send_if_modified(|trial| {
            let same = match (trial.as_ref(), offered) {
                (Some(trial), Some(offered)) => Arc::ptr_eq(trial, offered),
                (None, None) => true,
                _ => false,
            };
            if !same {
                *trial = offered.cloned();
            }
            !same
        });
    }

    pub(super) fn answer(&self, snapshot: &Arc<Snapshot>, other: &Snapshot) -> Answer {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, TypeStanding { refused, .. }) in &standing.types {
            if let Some(refused) = refused.as_ref().filter(|refused| !refused.retried) {
                let new = refused.resources.iter().any(|(name, version)| {
                    let in_set = |snapshot: &Snapshot| {
                        snapshot.set(*kind).get(name).is_some_and(|resource| resource.version() == version)
                    };
                    in_set(snapshot) && !in_set(other)
                });
                if new {
                    return Answer::Refused(self.node.id.clone(), *kind, refused.clone());
                }
            }
        }
        let retried =
            standing.types.values().any(|standing| standing.refused.as_ref().is_some_and(|r| r.retried));
        match &standing.settled {
            None => Answer::Connecting,
            Some(_) if retried => Answer::None,
            Some(settled) if Arc::ptr_eq(settled, snapshot) => Answer::Accepted,
            Some(_) => Answer::None,
        }
    }
}

impl Standing {
    fn of(&mut self, kind: Kind) -> &mut TypeStanding {
        self.types.entry(kind).or_insert_with(|| TypeStanding {
            sent: None,
            accepted: None,
            refused: None,
            since: SystemTime::now(),
        })
    }

    pub(super) fn sent(&mut self, kind: Kind, version: &Version) -> bool {
        let standing = self.of(kind);
        if standing.sent.as_ref() == Some(version) {
            return false;
        }
        standing.sent = Some(Arc::clone(version));
        standing.since = SystemTime::now();
        true
    }

    pub(super) fn accepted(&mut self, kind: Kind, version: &Version, refuses: bool) -> bool {
        let standing = self.of(kind);
        let clears = !refuses && standing.refused.is_some();
        if standing.accepted.as_ref() == Some(version) && !clears {
            return false;
        }
        standing.accepted = Some(Arc::clone(version));
        if clears {
            standing.refused = None;
        }
        standing.since = SystemTime::now();
        true
    }

    pub(super) fn refused(&mut self, kind: Kind, refused: Refused) -> bool {
        let standing = self.of(kind);
        if standing.refused.as_ref() == Some(&refused) {
            return false;
        }
        standing.refused = Some(refused);
        standing.since = SystemTime::now();
        true
    }

    pub(super) fn settled(&mut self, snapshot: &Arc<Snapshot>) -> bool {
        if self.settled.as_ref().is_some_and(|settled| Arc::ptr_eq(settled, snapshot)) {
            return false;
        }
        self.settled = Some(Arc::clone(snapshot));
        true
    }
}
