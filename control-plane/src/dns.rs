//! Where the names lead that Backends give in the DNS.
//!
//! The control plane asks, not the proxies: endpoints then come to proxies (and to gRPC clients without one) the same way wherever they were found, and what
//! becomes of a name that stops resolving is decided here. Envoy itself would keep the last addresses for ever if its name server fails, and drop them
//! at once if it says that there are none; both are wrong in the middle of an outage of the DNS.
//!
//! [`name`] decides, [`lookup`] asks, and [`kept`] remembers over a restart.

mod kept;
mod lookup;
mod name;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::document::kind::Dns;
use crate::store::Accepted;

pub use self::kept::Kept;
pub use self::lookup::{Lookup, LookupError, NameServers, Unusable};
use self::name::{Name, News};

/// The addresses of names, in their order. A name that has none, or none any more, is not among them.
pub type Addresses = BTreeMap<Dns, Arc<[IpAddr]>>;

/// Documents, and where the names in them lead.
#[derive(Debug, Clone, Default)]
pub struct Located {
    /// The documents.
    pub accepted: Arc<Accepted>,
    /// Every name in them has been asked for at least once.
    pub addresses: Arc<Addresses>,
}

/// Follows the names in the newest documents until there can be no newer ones. Documents with a new name are passed on once there is an answer for it, good
/// or bad, so that no Backend is without endpoints only because nobody has asked yet.
pub async fn run<L: Lookup>(
    mut newest: watch::Receiver<Arc<Accepted>>,
    lookup: L,
    kept: Kept,
    located: watch::Sender<Option<Located>>,
) {
    let lookup = Arc::new(lookup);
    let mut follower = Follower { names: BTreeMap::new(), kept, accepted: Arc::default() };
    let mut lookups = JoinSet::new();
    newest.mark_changed();
    loop {
        let next = follower.next();
        tokio::select! {
            changed = newest.changed() => match changed {
                Ok(()) => follower.edited(&newest.borrow_and_update(), Instant::now()),
                Err(_) => return,
            },
            Some(answer) = lookups.join_next() => match answer {
                Ok((dns, answer)) => follower.answered(&dns, answer, Instant::now()),
                Err(error) => {
                    error!(%error, "names can't be resolved any more");
                    return;
                }
            },
            () = reached(next) => {}
        }
        for dns in follower.due(Instant::now()) {
            let lookup = Arc::clone(&lookup);
            lookups.spawn(async move {
                let answer = lookup.lookup(&dns.host).await;
                (dns, answer)
            });
        }
        if let Some(news) = follower.located() {
            located.send_if_modified(|last| {
                let same = last.as_ref().is_some_and(|last| {
                    Arc::ptr_eq(&last.accepted, &news.accepted) && last.addresses == news.addresses
                });
                if !same {
                    *last = Some(news);
                }
                !same
            });
        }
    }
}

/// The names of the newest documents.
#[derive(Debug)]
struct Follower {
    names: BTreeMap<Dns, Name>,
    kept: Kept,
    accepted: Arc<Accepted>,
}

impl Follower {
    fn edited(&mut self, accepted: &Arc<Accepted>, now: Instant) {
        self.accepted = Arc::clone(accepted);
        let wanted = accepted.model.backends.values().filter_map(|backend| backend.dns());
        let mut known = std::mem::take(&mut self.names);
        for dns in wanted {
            // Who only asks more often, or on another port, knows the addresses already.
            let of_host = |(other, name): (&Dns, &Name)| (other.host == dns.host).then(|| name.addresses());
            let last = known.iter().find_map(of_host).or_else(|| self.kept.get(&dns.host));
            let name = known.remove(dns).unwrap_or_else(|| Name::new(last, now));
            self.names.entry(dns.clone()).or_insert(name);
        }
        let names = &self.names;
        self.kept.retain(|host| names.keys().any(|dns| dns.host == host));
    }

    fn answered(&mut self, dns: &Dns, answer: Result<Vec<IpAddr>, LookupError>, now: Instant) {
        // It may be gone from the documents.
        let Some(name) = self.names.get_mut(dns) else { return };
        let host = dns.host.as_str();
        match name.answered(dns, answer, now) {
            News::None => {}
            News::Found(addresses) => {
                info!(host, ?addresses, "resolved");
                if let Err(error) = self.kept.put(host, &addresses) {
                    error!(%error, "addresses are not kept: after a restart a name that doesn't resolve has none");
                }
            }
            News::Failing(reason) => {
                let keep_for = dns.keep_for;
                warn!(host, %reason, %keep_for, "a name does not resolve: its last addresses stay in use");
            }
            News::Nowhere(reason) => {
                error!(host, %reason, "a name does not resolve: its Backend has no endpoints");
            }
        }
    }

    /// The names to ask for now.
    fn due(&mut self, now: Instant) -> Vec<Dns> {
        let mut due = Vec::new();
        for (dns, name) in &mut self.names {
            if name.expired(now) {
                error!(
                    host = dns.host,
                    "a name has not resolved for too long: its Backend has no endpoints any more"
                );
            }
            if name.ask(now) {
                due.push(dns.clone());
            }
        }
        due
    }

    /// When to look again, whatever happens.
    fn next(&self) -> Option<Instant> {
        self.names.values().filter_map(Name::next).min()
    }

    fn located(&self) -> Option<Located> {
        if !self.names.values().all(Name::is_answered) {
            return None;
        }
        let addresses = self.names.iter().map(|(dns, name)| (dns.clone(), name.addresses()));
        let addresses = addresses.filter(|(_, addresses)| !addresses.is_empty()).collect();
        Some(Located { accepted: Arc::clone(&self.accepted), addresses: Arc::new(addresses) })
    }
}

/// Waits for a time; for ever if there is none.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
