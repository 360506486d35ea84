//! What is known about one connected proxy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use crate::resource::Kind;
use crate::snapshot::{Name, Snapshot, Version};
use crate::stream::Node;
use crate::telemetry::trace::Trace;

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

/// One stream of a connected proxy. Most proxies have one; those that use separate services have one for each.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(super) node: Arc<Node>,
    pub(super) address: Option<SocketAddr>,
    pub(super) since: SystemTime,
    pub(super) trial: watch::Sender<Option<Arc<Snapshot>>>,
    standing: Mutex<Standing>,
}

/// What it has been sent and what it said.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// What it subscribes to, in the order of kinds. Not a map: there are thousands of these, and a map reserves room for eleven.
    pub(super) types: Vec<(Kind, TypeStanding)>,
    /// The newest snapshot of which it has answered everything.
    pub(super) settled: Option<Arc<Snapshot>>,
}

/// The same for one type of resource.
#[derive(Debug, Clone)]
pub(crate) struct TypeStanding {
    pub(super) sent: Option<Version>,
    /// The version that it accepted last, and when.
    pub(crate) accepted: Option<(SystemTime, Version)>,
    /// What it refuses. Boxed, because it is rare.
    pub(crate) refused: Option<Box<Refusal>>,
    /// What it has not answered, in the order in which it was sent. The stream sends no more than a few without an answer.
    unanswered: Vec<Unanswered>,
    /// When any of these changed last.
    pub(super) since: SystemTime,
}

/// A response that was sent.
#[derive(Debug, Clone)]
pub(super) struct Unanswered {
    version: Version,
    pub(super) at: Instant,
    /// The change that it is part of.
    pub(super) change: Trace,
}

/// What a proxy has refused, and when.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) at: SystemTime,
    pub(crate) refused: Refused,
    /// It was on an earlier stream.
    recalled: bool,
}

impl Proxy {
    pub(super) fn new(node: &Arc<Node>, address: Option<SocketAddr>) -> Self {
        Self {
            node: Arc::clone(node),
            address,
            since: SystemTime::now(),
            trial: watch::Sender::new(None),
            standing: Mutex::default(),
        }
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Standing) -> T) -> T {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it said about one kind of resource.
    pub(crate) fn said(&self, kind: Kind) -> Option<TypeStanding> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).get(kind).cloned()
    }

    /// The kinds that it subscribes to.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.types().map(|(kind, _)| kind).collect()
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
        let refused = |(kind, standing): (Kind, &TypeStanding)| {
            let refused = standing.refused.as_ref().map(|refusal| refusal.refused.clone());
            refused.map(|refused| (kind, refused))
        };
        let (retried, refused): (Vec<_>, Vec<_>) =
            standing.types().filter_map(refused).partition(|(_, refused)| refused.retried);
        for (kind, refused) in refused {
            let new = refused.resources.iter().any(|(name, version)| {
                let in_set = |snapshot: &Snapshot| {
                    snapshot.set(kind).get(name).is_some_and(|resource| resource.version() == version)
                };
                in_set(snapshot) && !in_set(other)
            });
            if new {
                return Answer::Refused(self.node.id.clone(), kind, refused);
            }
        }
        match &standing.settled {
            None => Answer::Connecting,
            Some(_) if !retried.is_empty() => Answer::None,
            Some(settled) if Arc::ptr_eq(settled, snapshot) => Answer::Accepted,
            Some(_) => Answer::None,
        }
    }
}

impl Standing {
    /// What it subscribes to, in the order of kinds.
    pub(super) fn types(&self) -> impl Iterator<Item = (Kind, &TypeStanding)> {
        self.types.iter().map(|(kind, standing)| (*kind, standing))
    }

    fn get(&self, kind: Kind) -> Option<&TypeStanding> {
        self.types().find(|(known, _)| *known == kind).map(|(_, standing)| standing)
    }

    /// Applies a change to what is known about a kind, and notes the time if it was one.
    fn change(&mut self, kind: Kind, change: impl FnOnce(&mut TypeStanding, SystemTime) -> bool) -> bool {
        let now = SystemTime::now();
        let at = self.types.partition_point(|(known, _)| *known < kind);
        if self.types.get(at).is_none_or(|(known, _)| *known != kind) {
            let standing = TypeStanding {
                sent: None,
                accepted: None,
                refused: None,
                unanswered: Vec::new(),
                since: now,
            };
            self.types.reserve_exact(1);
            self.types.insert(at, (kind, standing));
        }
        let Some((_, standing)) = self.types.get_mut(at) else { return false };
        let changed = change(standing, now);
        if changed {
            standing.since = now;
        }
        changed
    }

    /// It wants resources of this kind, and refused `recalled` on an earlier stream.
    pub(super) fn subscribed(&mut self, kind: Kind, recalled: Option<Refused>) -> bool {
        self.change(kind, |standing, at| {
            standing.refused = recalled.map(|refused| Box::new(Refusal { at, refused, recalled: true }));
            true
        })
    }

    pub(super) fn sent(&mut self, kind: Kind, version: &Version, change: &Trace) -> bool {
        self.change(kind, |standing, _| {
            let changed = standing.sent.as_ref() != Some(version);
            standing.sent = Some(Arc::clone(version));
            standing.unanswered.reserve_exact(1);
            let (version, change) = (Arc::clone(version), change.clone());
            standing.unanswered.push(Unanswered { version, at: Instant::now(), change });
            changed
        })
    }

    /// It has answered the response with this version, and with it those before; that response, unless it was never sent.
    pub(super) fn answered(&mut self, kind: Kind, version: &Version) -> Option<Unanswered> {
        let (_, standing) = self.types.iter_mut().find(|(known, _)| *known == kind)?;
        let at = standing.unanswered.iter().position(|sent| sent.version == *version)?;
        let sent = standing.unanswered.drain(..=at).next_back()?;
        if standing.unanswered.is_empty() {
            standing.unanswered = Vec::new();
        }
        Some(sent)
    }

    pub(super) fn accepted(&mut self, kind: Kind, version: &Version, refuses: bool) -> bool {
        self.change(kind, |standing, now| {
            let clears = !refuses && standing.refused.is_some();
            let known = standing.accepted.as_ref().is_some_and(|(_, known)| known == version);
            if clears {
                standing.refused = None;
            }
            standing.accepted = Some((now, Arc::clone(version)));
            clears || !known
        })
    }

    pub(super) fn refused(&mut self, kind: Kind, refused: Refused) -> bool {
        self.change(kind, |standing, at| {
            let known = standing.refused.as_ref().is_some_and(|known| known.refused == refused);
            standing.refused = Some(Box::new(Refusal { at, refused, recalled: false }));
            !known
        })
    }

    /// It has answered all of `snapshot`. What it refused on an earlier stream and no longer `refuses` is over: it was not sent again, and
    /// what it has instead need not be sent either.
    pub(super) fn settled(&mut self, snapshot: &Arc<Snapshot>, refuses: impl Fn(Kind) -> bool) -> bool {
        if self.settled.as_ref().is_some_and(|settled| Arc::ptr_eq(settled, snapshot)) {
            return false;
        }
        self.settled = Some(Arc::clone(snapshot));
        for (kind, standing) in &mut self.types {
            if standing.refused.as_ref().is_some_and(|refusal| refusal.recalled) && !refuses(*kind) {
                standing.refused = None;
            }
        }
        true
    }
}
