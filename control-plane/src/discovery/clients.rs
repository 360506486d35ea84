//! The streams that are open, so that somebody else can ask what their clients have.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fleet::Proxy;
use crate::stream::Stream;

/// Every open stream.
#[derive(Debug)]
pub struct Clients {
    limit: usize,
    open: Mutex<HashMap<u64, Arc<Mutex<Client>>>>,
    next: AtomicU64,
}

/// One stream, and what is known about its client.
#[derive(Debug)]
pub(super) struct Client {
    /// Decides what to send.
    pub(super) stream: Stream,
    /// What the client has said, once it has said who it is.
    pub(super) proxy: Option<Arc<Proxy>>,
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
        let client = Arc::new(Mutex::new(Client { stream, proxy: None }));
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
}
