//! Server-sent events: what changes, as it changes.
//!
//! A stream has no queue that others fill. When its reader has room, it compares the present state with the one that the reader was told, and
//! tells the difference: a slow reader costs no more than a fast one, and catches up by leaving out what has been replaced meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::{Admin, Context};
use crate::api::Event;
use crate::api::problem::{Problem, ProblemKind};
use crate::fleet::{FleetView, TypeView};
use crate::store::Accepted;

/// So often a stream that has nothing to tell shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The state of many proxies is not looked at more often than this.
const INTERVAL: Duration = Duration::from_millis(25);

/// How many revisions are told at a time.
const REVISIONS: u64 = 100;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The stream of events from now on; with `Last-Event-ID`, revisions from that one on.
pub(super) async fn events(State(context): State<Context>, headers: HeaderMap) -> Result<Response, Problem> {
    let Ok(permit) = Arc::clone(&context.event_streams).try_acquire_owned() else {
        return Err(Problem::new(ProblemKind::TooMany).detail("too many streams of events are open"));
    };
    let mut revisions = context.admin.store.subscribe();
    let newest = revisions.borrow_and_update().revision;
    let last = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let told = last.map_or(newest, |last| last.min(newest));
    let mut changes = context.admin.fleets.subscribe();
    changes.mark_changed();
    if told < newest {
        revisions.mark_changed();
    }
    let teller = Teller {
        admin: Arc::clone(&context.admin),
        revisions,
        changes,
        told,
        known: BTreeMap::new(),
        is_first: true,
        looked: None,
        queue: VecDeque::new(),
        _permit: permit,
    };
    Ok(Sse::new(stream(teller)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn stream(teller: Teller) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    unfold(teller, |mut teller| async move {
        let event = teller.next().await?;
        let mut message = sse::Event::default().event(event.name());
        if let Event::Revision { revision, .. } = &event {
            message = message.id(revision.to_string());
        }
        // It has no map with keys that are no strings, and nothing else can go wrong.
        let data = serde_json::to_string(&event).unwrap_or_default();
        Some((Ok(message.data(data)), teller))
    })
}

/// What one reader was told, and what is to be told next.
struct Teller {
    admin: Arc<Admin>,
    revisions: watch::Receiver<Arc<Accepted>>,
    changes: watch::Receiver<u64>,
    /// The newest revision that was told.
    told: u64,
    /// The fleets as they were told.
    known: BTreeMap<String, FleetView>,
    is_first: bool,
    looked: Option<Instant>,
    queue: VecDeque<Event>,
    _permit: OwnedSemaphorePermit,
}

impl Teller {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            tokio::select! {
                () = self.admin.shutdown.cancelled() => return None,
                changed = self.revisions.changed() => {
                    changed.ok()?;
                    self.tell_revisions().await;
                }
                changed = self.changes.changed() => {
                    changed.ok()?;
                    self.tell_fleets().await;
                }
            }
        }
    }

    async fn tell_revisions(&mut self) {
        let newest = self.revisions.borrow_and_update().revision;
        let (store, first) = (Arc::clone(&self.admin.store), self.told + 1);
        let last = newest.min(self.told.saturating_add(REVISIONS));
        let read = tokio::task::spawn_blocking(move || {
            let oldest = store.kept().oldest;
            // Those that are not kept any more can't be told.
            store.revisions(first.max(oldest)..=last.max(oldest))
        });
        for revision in read.await.unwrap_or_default().into_iter().rev() {
            self.queue.push_back(Event::Revision {
                revision: revision.number,
                author: revision.author,
                message: revision.message,
            });
            self.told = self.told.max(revision.number);
        }
        self.told = self.told.max(last);
        if self.told < newest {
            self.revisions.mark_changed();
        }
    }

    async fn tell_fleets(&mut self) {
        if let Some(looked) = self.looked {
            tokio::time::sleep_until(looked + INTERVAL).await;
        }
        self.changes.mark_unchanged();
        let fleets = self.admin.fleets.clone();
        let Ok(views) = tokio::task::spawn_blocking(move || fleets.view()).await else { return };
        self.looked = Some(Instant::now());
        let is_first = std::mem::take(&mut self.is_first);
        let mut before = std::mem::take(&mut self.known);
        for view in views {
            let last = before.remove(&view.fleet);
            // Who was connected before the stream began is no news.
            if !is_first {
                compare(last.as_ref(), Some(&view), &mut self.queue);
            }
            let state = |view: &FleetView| (view.revision, view.in_force);
            if last.as_ref().map(state) != Some(state(&view)) {
                let (fleet, revision, in_force) = (view.fleet.clone(), view.revision, view.in_force);
                self.queue.push_back(Event::Fleet { fleet, revision, in_force });
            }
            self.known.insert(view.fleet.clone(), view);
        }
        for gone in before.values() {
            compare(Some(gone), None, &mut self.queue);
        }
    }
}

/// What happened to the proxies of a fleet.
fn compare(before: Option<&FleetView>, after: Option<&FleetView>, events: &mut VecDeque<Event>) {
    let Some(fleet) = after.or(before).map(|view| view.fleet.as_str()) else { return };
    let proxies = |view: Option<&FleetView>| -> BTreeMap<_, _> {
        let proxies = view.into_iter().flat_map(|view| view.proxies.clone());
        // One that has reconnected is another connection.
        proxies
            .map(|proxy| ((proxy.id.clone(), proxy.connected_since.clone(), proxy.address.clone()), proxy))
            .collect()
    };
    let (mut before, after) = (proxies(before), proxies(after));
    for (key, proxy) in after {
        let last = before.remove(&key);
        let (id, _, address) = key;
        let named = || (fleet.to_owned(), id.clone());
        if last.is_none() {
            let (fleet, proxy) = named();
            events.push_back(Event::Connected { fleet, proxy, address });
        }
        for of_type in &proxy.types {
            let last = last
                .as_ref()
                .and_then(|last| last.types.iter().find(|last| last.type_url == of_type.type_url));
            compare_type(last, of_type, named, events);
        }
    }
    for (id, ..) in before.into_keys() {
        events.push_back(Event::Disconnected { fleet: fleet.to_owned(), proxy: id });
    }
}

fn compare_type(
    before: Option<&TypeView>,
    after: &TypeView,
    named: impl Fn() -> (String, String),
    events: &mut VecDeque<Event>,
) {
    let TypeView { type_url, accepted, refused, sent: _, since: _ } = after;
    if let Some(version) =
        accepted.clone().filter(|_| before.and_then(|before| before.accepted.as_ref()) != accepted.as_ref())
    {
        let (fleet, proxy) = named();
        events.push_back(Event::Accepted { fleet, proxy, type_url: type_url.clone(), version });
    }
    if let Some(refused) =
        refused.clone().filter(|_| before.and_then(|before| before.refused.as_ref()) != refused.as_ref())
    {
        let (fleet, proxy) = named();
        events.push_back(Event::Refused { fleet, proxy, type_url: type_url.clone(), refused });
    }
}
