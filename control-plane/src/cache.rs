//! The latest snapshot of every fleet, and who waits for the next one.
//!
//! Publishing never waits for anyone: a stream that is slow finds the newest snapshot when it looks again, and never saw those between.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::snapshot::Snapshot;

/// Latest snapshots, by fleet.
#[derive(Debug, Default)]
pub struct Cache {
    fleets: Mutex<Fleets>,
}

#[derive(Debug, Default)]
struct Fleets {
    /// `None` is sent until the sources have been loaded: an empty snapshot would delete everything that a proxy has.
    loaded: bool,
    senders: HashMap<String, watch::Sender<Option<Arc<Snapshot>>>>,
}

impl Cache {
    /// Makes these the latest snapshots. A fleet that is not among them has no Gateway (any more) and gets an empty one. Streams of a fleet
    /// whose snapshot is what it was are not woken.
    pub fn publish(&self, snapshots: &BTreeMap<String, Arc<Snapshot>>) {
        let mut fleets = self.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        fleets.loaded = true;
        // Fleets are also entered by streams that ask for them; without this, made-up names would stay for ever.
        fleets.senders.retain(|fleet, sender| snapshots.contains_key(fleet) || sender.receiver_count() > 0);
        for (fleet, sender) in &fleets.senders {
            replace(sender, snapshots.get(fleet).cloned().unwrap_or_default());
        }
        for (fleet, snapshot) in snapshots {
            if !fleets.senders.contains_key(fleet) {
                let sender = watch::Sender::new(Some(Arc::clone(snapshot)));
                fleets.senders.insert(fleet.clone(), sender);
            }
        }
    }

    /// The latest snapshot of a fleet and every later one; `None` until the sources have been loaded.
    pub fn subscribe(&self, fleet: &str) -> watch::Receiver<Option<Arc<Snapshot>>> {
        let mut fleets = self.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = fleets.loaded.then(Arc::default);
        let sender = fleets.senders.entry(fleet.to_owned()).or_insert_with(|| watch::Sender::new(latest));
        sender.subscribe()
    }

    /// The latest snapshot of every fleet that somebody asked for or a Gateway names, by fleet.
    pub fn latest(&self) -> BTreeMap<String, Arc<Snapshot>> {
        let fleets = self.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = fleets.senders.iter();
        latest.filter_map(|(fleet, sender)| Some((fleet.clone(), sender.borrow().clone()?))).collect()
    }

    /// Whether the sources have been loaded.
    pub fn is_loaded(&self) -> bool {
        self.fleets.lock().unwrap_or_else(PoisonError::into_inner).loaded
    }
}

fn replace(sender: &watch::Sender<Option<Arc<Snapshot>>>, snapshot: Arc<Snapshot>) {
    sender.send_if_modified(|latest| {
        let changed = latest.as_ref() != Some(&snapshot);
        if changed {
            *latest = Some(snapshot);
        }
        changed
    });
}

#[cfg(test)]
mod tests;
