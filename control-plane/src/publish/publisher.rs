//! What every fleet has, and what it may get next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{error, info, warn};

use super::guard::{Guard, Trial, Verdict};
use super::past::{Held, Past};
use crate::cache::Cache;
use crate::dns::Addresses;
use crate::fleet::{Answer, Fleets, LinkId, Published, Push, Refused};
use crate::model::Model;
use crate::resource::Kind;
use crate::snapshot::Snapshot;
use crate::snapshot::build::Builder;
use crate::snapshot::known::History;
use crate::store::Accepted;
use crate::telemetry::trace::{Stage, Trace};

/// So many documents of a change are named in its trace.
const MAX_DOCUMENTS: usize = 100;

/// Gives the cache and the registry of proxies what they should have.
#[derive(Debug)]
pub(super) struct Publisher {
    builder: Builder,
    cache: Arc<Cache>,
    fleets: Fleets,
    past: Past,
    states: BTreeMap<String, State>,
    /// That of the documents taken last.
    revision: Option<u64>,
}

/// One fleet.
#[derive(Debug)]
struct State {
    /// The revision of the newest documents.
    newest: u64,
    /// The revision of those whose snapshot is in use.
    in_use: u64,
    snapshot: Arc<Snapshot>,
    /// A newer snapshot that is not in use.
    attempt: Option<Attempt>,
    /// The clusters that its proxies may have.
    clusters: History,
}

#[derive(Debug)]
struct Attempt {
    snapshot: Arc<Snapshot>,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Trying { guard: Guard, trial: Trial, canaries: Vec<LinkId> },
    Stopped { by: String, kind: Kind, refused: Refused },
}

impl Publisher {
    pub(super) fn new(builder: Builder, cache: Arc<Cache>, fleets: Fleets, past: Past) -> Self {
        Self { builder, cache, fleets, past, states: BTreeMap::new(), revision: None }
    }

    /// Whether some fleet tries something.
    pub(super) fn is_tried(&self) -> bool {
        let trying =
            |state: &State| matches!(state.attempt, Some(Attempt { outcome: Outcome::Trying { .. }, .. }));
        self.states.values().any(trying)
    }

    /// Takes what the names in the next documents lead to.
    pub(super) fn located(&mut self, addresses: Arc<Addresses>) {
        self.builder.locate(addresses);
    }

    /// Takes new documents.
    pub(super) fn edited(&mut self, accepted: &Arc<Accepted>) {
        let mut histories = self.recall(accepted);
        let begun = Instant::now();
        let snapshots = self.builder.build(&accepted.model, wall_clock()).clone();
        let took = begun.elapsed();
        self.fleets.figures().built(took);
        let change = self.change(accepted, took);
        let _logged = change.enter();
        for snapshot in snapshots.values() {
            snapshot.caused_by(&change);
        }
        self.states.retain(|fleet, _| snapshots.contains_key(fleet));
        for (fleet, snapshot) in snapshots {
            let guard = guard_of(&accepted.model, &fleet);
            let revision = accepted.revision;
            if let Some(state) = self.states.get_mut(&fleet) {
                if state.edited(&fleet, revision, snapshot, guard) {
                    self.fleets.offer(&fleet, &[], None);
                }
                state.came_from(accepted);
            } else {
                // Whoever connects has to be given something, and there is nothing that was accepted before.
                snapshot.came_from(accepted);
                let clusters = histories.remove(&fleet).unwrap_or_default();
                self.states.insert(fleet, State::new(revision, snapshot, clusters));
            }
        }
        let trace_id = change.id().map(tracing::field::display);
        info!(revision = accepted.revision, fleets = self.states.len(), trace_id, "published");
        self.publish();
    }

    /// The change that documents are, as far as snapshots have been made of them. What a process starts with is none.
    fn change(&mut self, accepted: &Accepted, took: Duration) -> Trace {
        let Some(last) = self.revision.replace(accepted.revision) else { return Trace::default() };
        let revision = number(accepted.revision);
        let change = if last == accepted.revision {
            // Addresses or certificates are others.
            Trace::begin(Stage::took("renewal", took).with("spillway.revision", revision))
        } else {
            let at = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
            let edited = at(accepted.edited);
            let stage = Stage::since("edit", edited).with("spillway.revision", revision);
            let edit = Trace::join(&accepted.cause, stage);
            edit.note(|| {
                Stage::since("revision", edited).until(at(accepted.since)).with("spillway.revision", revision)
            });
            if edit.id().is_some() {
                for (document, revision) in written(accepted, last).take(MAX_DOCUMENTS) {
                    edit.note(|| {
                        Stage::since("document", edited)
                            .until(at(accepted.since))
                            .with("spillway.document", document)
                            .with("spillway.revision", number(revision))
                    });
                }
            }
            edit
        };
        change.follow(|| Stage::took("snapshot", took).with("spillway.revision", revision))
    }

    /// Takes up what fleets had in use when the last process ended, as far as newer documents have come since. The answer is which clusters
    /// their proxies may have from before that, as far as it is not taken up.
    fn recall(&mut self, accepted: &Accepted) -> BTreeMap<String, History> {
        let (fleets, models) = self.past.take();
        let mut histories: BTreeMap<String, History> = BTreeMap::new();
        for (revision, model) in models.range(..accepted.revision) {
            for (fleet, clusters) in self.builder.clusters(model) {
                if fleets.get(&fleet).is_some_and(|held| held.had(*revision)) {
                    histories.entry(fleet).or_default().give(*revision, &clusters);
                }
            }
        }
        for (revision, model) in models.range(..accepted.revision) {
            let in_use = |fleet: &String| fleets.get(fleet).is_some_and(|held| held.in_use == *revision);
            if !fleets.keys().any(in_use) {
                continue;
            }
            let origin =
                Arc::new(Accepted { revision: *revision, model: Arc::clone(model), ..Accepted::default() });
            let snapshots = self.builder.build(model, wall_clock()).clone();
            for (fleet, snapshot) in snapshots.into_iter().filter(|(fleet, _)| in_use(fleet)) {
                info!(fleet, revision, "the revision that this fleet had in use");
                snapshot.came_from(&origin);
                let clusters = histories.remove(&fleet).unwrap_or_default();
                self.states.insert(fleet, State::new(*revision, snapshot, clusters));
            }
        }
        histories
    }

    /// Looks at the proxies that try something. `now` is monotonic; the answer is when to look again even if no proxy says anything.
    pub(super) fn look(&mut self, now: Duration) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        let mut changed = false;
        for (fleet, state) in &mut self.states {
            let Some(Attempt { snapshot, outcome: Outcome::Trying { guard, trial, canaries } }) =
                &mut state.attempt
            else {
                continue;
            };
            let answers = self.fleets.answers(fleet, snapshot, &state.snapshot);
            match trial.look(*guard, now, &answers) {
                Verdict::Wait { canaries: wanted, until } => {
                    next = [next, until].into_iter().flatten().min();
                    if *canaries != wanted {
                        info!(
                            fleet,
                            revision = state.newest,
                            canaries = wanted.len(),
                            "proxies try a revision"
                        );
                        self.fleets.offer(fleet, &wanted, Some(snapshot));
                        *canaries = wanted;
                        changed = true;
                    }
                }
                Verdict::Accepted => {
                    info!(
                        fleet,
                        revision = state.newest,
                        "the proxies that tried a revision have accepted it"
                    );
                    state.snapshot = Arc::clone(snapshot);
                    state.in_use = state.newest;
                    state.attempt = None;
                    changed = true;
                }
                Verdict::Refused(Answer::Refused(by, kind, refused)) => {
                    let (type_url, reason) = (kind.type_url(), &refused.reason);
                    let cause = refused.cause.as_ref();
                    let (document, field) = cause.map(|cause| (&cause.document, &cause.field)).unzip();
                    error!(
                        fleet,
                        revision = state.newest,
                        in_use = state.in_use,
                        node = by,
                        type_url,
                        reason,
                        document,
                        field,
                        "a proxy that tried a revision has refused it: the fleet stays on the one before"
                    );
                    // A filter takes no configuration that is older than the one it has, so those who tried need the old one anew.
                    state.snapshot = self.builder.renewed(&state.snapshot, snapshot, wall_clock());
                    state.snapshot.caused_by(&snapshot.cause());
                    let outcome = Outcome::Stopped { by, kind, refused };
                    state.attempt = Some(Attempt { snapshot: Arc::clone(snapshot), outcome });
                    changed = true;
                }
                Verdict::Refused(_) => {}
            }
        }
        if changed {
            self.publish();
        }
        next
    }

    fn publish(&mut self) {
        // Kept before it is used: after a restart a revision must not be lower than one that a proxy has seen.
        if let Err(error) = self.builder.revisions().save() {
            error!(%error, "revisions are not kept: after a restart proxies will be sent their filter configurations again");
        }
        self.states.values_mut().for_each(State::remember);
        let held = self.states.iter().map(|(fleet, state)| (fleet.clone(), state.held())).collect();
        if let Err(error) = self.past.keep(held) {
            error!(%error, "the revisions in use are not kept: a restart will not know them");
        }
        let snapshots =
            self.states.iter().map(|(fleet, state)| (fleet.clone(), Arc::clone(&state.snapshot))).collect();
        self.cache.publish(&snapshots);
        let published = self.states.iter().map(|(fleet, state)| (fleet.clone(), state.published()));
        self.fleets.publish(&published.collect());
        for (fleet, state) in &self.states {
            if !matches!(&state.attempt, Some(Attempt { outcome: Outcome::Trying { .. }, .. })) {
                // After the cache, so that those who tried it go straight to what is in use.
                self.fleets.offer(fleet, &[], None);
            }
        }
    }
}

impl State {
    /// `clusters` are those that proxies may have from before.
    fn new(revision: u64, snapshot: Arc<Snapshot>, clusters: History) -> Self {
        let mut state = Self { newest: revision, in_use: revision, snapshot, attempt: None, clusters };
        state.remember();
        state
    }

    /// Notes which clusters proxies may have from now on.
    fn remember(&mut self) {
        let attempt = self.attempt.as_ref().map(|attempt| (self.newest, &attempt.snapshot));
        let snapshots = attempt.into_iter().chain([(self.in_use, &self.snapshot)]);
        for (revision, snapshot) in snapshots.clone() {
            self.clusters.give(revision, snapshot.set(Kind::Cluster));
        }
        for (_, snapshot) in snapshots {
            snapshot.came_after(&self.clusters);
        }
    }

    fn held(&self) -> Held {
        Held::new(self.in_use, self.clusters.revisions().iter().copied())
    }

    /// Takes a new snapshot; whether an attempt ended that somebody may be in the middle of.
    fn edited(&mut self, fleet: &str, revision: u64, snapshot: Arc<Snapshot>, guard: Option<Guard>) -> bool {
        self.newest = revision;
        if *snapshot == *self.snapshot {
            self.in_use = revision;
            return self.attempt.take().is_some();
        }
        let Some(guard) = guard else {
            self.snapshot = snapshot;
            self.in_use = revision;
            return self.attempt.take().is_some();
        };
        match &mut self.attempt {
            Some(attempt) if *attempt.snapshot == *snapshot => {
                if let Outcome::Trying { guard: old, .. } = &mut attempt.outcome {
                    *old = guard;
                } else {
                    warn!(
                        fleet,
                        revision, "this is what was refused before: the fleet stays on the revision in use"
                    );
                }
                false
            }
            attempt => {
                let outcome = Outcome::Trying { guard, trial: Trial::default(), canaries: Vec::new() };
                attempt.replace(Attempt { snapshot, outcome }).is_some()
            }
        }
    }

    fn came_from(&self, accepted: &Arc<Accepted>) {
        let newest = self.attempt.as_ref().map_or(&self.snapshot, |attempt| &attempt.snapshot);
        newest.came_from(accepted);
    }

    fn published(&self) -> Published {
        let in_use = self.in_use;
        let push = match self.attempt.as_ref().map(|attempt| &attempt.outcome) {
            None => Push::Everywhere,
            Some(Outcome::Trying { canaries, .. }) => Push::Trying { in_use, canaries: canaries.clone() },
            Some(Outcome::Stopped { by, kind, refused }) => {
                Push::Stopped { in_use, by: by.clone(), kind: *kind, refused: refused.clone() }
            }
        };
        Published { revision: self.newest, snapshot: Arc::clone(&self.snapshot), push }
    }
}

/// The documents that were written since a revision, and by which: snapshots may be made of several edits at once.
fn written(accepted: &Accepted, since: u64) -> impl Iterator<Item = (String, u64)> {
    let written = accepted.documents.iter().filter(move |(_, one)| one.revision > since);
    written.map(|((kind, name), one)| (format!("{kind}/{name}"), one.revision))
}

/// A revision, as spans can say it.
fn number(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// Several Gateways of a fleet are pushed together, as carefully as the most careful of them asks for.
fn guard_of(model: &Model, fleet: &str) -> Option<Guard> {
    let pushes = model.gateways_of(fleet).filter_map(|(_, gateway)| gateway.push.as_ref());
    pushes
        .map(|push| Guard {
            canaries: usize::try_from(push.canaries.get()).unwrap_or(usize::MAX),
            timeout: push.timeout.get(),
        })
        .reduce(|a, b| Guard { canaries: a.canaries.max(b.canaries), timeout: a.timeout.max(b.timeout) })
}

/// Milliseconds since 1970.
fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
