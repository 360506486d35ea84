//! The streams that are open, so that somebody else can ask what their clients have.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::resource::Kind;
use crate::snapshot::Version;
use crate::stream::Stream;

/// Every open stream.
#[derive(Debug)]
pub struct Clients {
    limit: usize,
    open: Mutex<HashMap<u64, Arc<Mutex<Client>>>>,
    next: AtomicU64,
}

/// One stream, and what its client has said.
#[derive(Debug)]
pub(super) struct Client {
    /// Decides what to send.
    pub(super) stream: Stream,
    /// The newest answer for each kind.
    answers: Vec<(Kind, Answer)>,
}

/// What a client said about the newest response of a kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// When it accepted something last, and what version that made.
    pub(super) accepted: Option<(SystemTime, Version)>,
    /// When it refused something since, and why: in its own words, redacted.
    pub(super) refused: Option<(SystemTime, String)>,
}

impl Client {
    /// What the client said about this kind.
    pub(super) fn answer(&self, kind: Kind) -> Answer {
        let known = self.answers.iter().find(|(known, _)| *known == kind);
        known.map(|(_, answer)| answer.clone()).unwrap_or_default()
    }

    /// The client has accepted a version; `refuses` says whether it still refuses something else of this kind.
    pub(super) fn accepted(&mut self, kind: Kind, version: Version, refuses: bool, now: SystemTime) {
        let answer = self.answer_mut(kind);
        answer.accepted = Some((now, version));
        if !refuses {
            answer.refused = None;
        }
    }

    /// The client has refused something.
    pub(super) fn refused(&mut self, kind: Kind, reason: String, now: SystemTime) {
        self.answer_mut(kind).refused = Some((now, reason));
    }

    fn answer_mut(&mut self, kind: Kind) -> &mut Answer {
        let known = self.answers.iter().position(|(known, _)| *known == kind);
        let position = known.unwrap_or_else(|| {
            self.answers.push((kind, Answer::default()));
            self.answers.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed just now")]
        &mut self.answers[position].1
    }
}

impl Clients {
    /// None yet, and never more than `limit`.
    pub fn new(limit: usize) -> Self {
        Self { limit, open: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// How many streams are open.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Enters a stream, which stays until what is returned is dropped; `None` if there are too many.
    pub(super) fn open(self: &Arc<Self>, stream: Stream) -> Option<Open> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(Mutex::new(Client { stream, answers: Vec::new() }));
        let mut open = self.lock();
        if open.len() >= self.limit {
            return None;
        }
        open.insert(id, Arc::clone(&client));
        drop(open);
        Some(Open { id, client, clients: Arc::clone(self) })
    }

    /// All of them, in the order in which they were opened.
    pub(super) fn all(&self) -> Vec<Arc<Mutex<Client>>> {
        let mut all: Vec<_> = self.lock().iter().map(|(id, client)| (*id, Arc::clone(client))).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, client)| client).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Mutex<Client>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream.
#[derive(Debug)]
pub(super) struct Open {
    id: u64,
    client: Arc<Mutex<Client>>,
    clients: Arc<Clients>,
}

impl Open {
    /// The stream. Nobody holds it for longer than it takes to look at it.
    pub(super) fn client(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Options;
    use crate::subscription::Variant;

    fn stream() -> Stream {
        Stream::new(Variant::Delta, Options { only: None, legacy_wildcard: true, seed: 0, secrets: true })
    }

    #[test]
    fn streams_over_the_limit_are_refused_until_others_end() {
        let clients = Arc::new(Clients::new(2));
        let (first, _second) = (clients.open(stream()).unwrap(), clients.open(stream()).unwrap());
        assert!(clients.open(stream()).is_none());
        drop(first);
        assert_eq!(clients.count(), 1);
        assert!(clients.open(stream()).is_some());
    }

    #[test]
    fn a_refusal_stands_until_nothing_of_its_kind_is_refused() {
        let clients = Arc::new(Clients::new(1));
        let open = clients.open(stream()).unwrap();
        let now = SystemTime::UNIX_EPOCH;
        let mut client = open.client();
        client.refused(Kind::Listener, "no".into(), now);
        client.accepted(Kind::Route, "1".into(), false, now);
        client.accepted(Kind::Listener, "2".into(), true, now);
        assert_eq!(client.answer(Kind::Listener).refused, Some((now, "no".into())));
        client.accepted(Kind::Listener, "3".into(), false, now);
        assert_eq!(client.answer(Kind::Listener).refused, None);
        assert_eq!(client.answer(Kind::Listener).accepted, Some((now, "3".into())));
    }
}
