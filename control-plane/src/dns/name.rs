//! One name: when it is asked for, and which addresses stand for it meanwhile.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::LookupError;
use crate::document::kind::Dns;

/// A name and its last addresses.
#[derive(Debug)]
pub(super) struct Name {
    addresses: Arc<[IpAddr]>,
    /// When it is asked for next; `None` while it is being asked for.
    due: Option<Instant>,
    /// It has been answered for, well or badly.
    answered: bool,
    /// Since it does not resolve: when its addresses are given up.
    failing: Option<Instant>,
}

/// What an answer changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing.
    None,
    /// Its addresses are others now.
    Found(Arc<[IpAddr]>),
    /// It has addresses and has just stopped resolving.
    Failing(LookupError),
    /// It has none.
    Nowhere(LookupError),
}

impl Name {
    /// A name that has just come up. `last` are addresses that it had once.
    pub(super) fn new(last: Option<Arc<[IpAddr]>>, now: Instant) -> Self {
        Self { addresses: last.unwrap_or_default(), due: Some(now), answered: false, failing: None }
    }

    /// What stands for it; nothing if nothing does.
    pub(super) fn addresses(&self) -> Arc<[IpAddr]> {
        Arc::clone(&self.addresses)
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered
    }

    /// When something is to be done about it.
    pub(super) fn next(&self) -> Option<Instant> {
        let expires = self.failing.filter(|_| !self.addresses.is_empty());
        [self.due, expires].into_iter().flatten().min()
    }

    /// Whether it has to be asked for now; if so, it counts as being asked for.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|due| due <= now);
        if due {
            self.due = None;
        }
        due
    }

    /// Takes an answer.
    pub(super) fn answered(
        &mut self,
        dns: &Dns,
        answer: Result<Vec<IpAddr>, LookupError>,
        now: Instant,
    ) -> News {
        let first = !std::mem::replace(&mut self.answered, true);
        self.due = Some(now + dns.refresh.get());
        match answer {
            Ok(mut addresses) if !addresses.is_empty() => {
                // Name servers turn their answers round; the order means nothing.
                addresses.sort_unstable();
                addresses.dedup();
                let recovered = self.failing.take().is_some();
                if *addresses == *self.addresses && !first && !recovered {
                    return News::None;
                }
                self.addresses = addresses.into();
                News::Found(self.addresses())
            }
            answer => {
                let reason = answer.err().unwrap_or(LookupError::Empty);
                let known = self.failing.is_some();
                self.failing.get_or_insert(now + dns.keep_for.get());
                self.expired(now);
                match (known, self.addresses.is_empty()) {
                    (true, _) => News::None,
                    (false, true) => News::Nowhere(reason),
                    (false, false) => News::Failing(reason),
                }
            }
        }
    }

    /// Gives up addresses whose time is over. Whether there were any.
    pub(super) fn expired(&mut self, now: Instant) -> bool {
        let over = self.failing.is_some_and(|until| until <= now) && !self.addresses.is_empty();
        if over {
            self.addresses = Arc::default();
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn dns() -> Dns {
        serde_json::from_str(r#"{"host": "a", "port": 1, "refresh": "5s", "keepFor": "1m"}"#).unwrap()
    }

    fn addresses(last: &[u8]) -> Vec<IpAddr> {
        last.iter().map(|last| [10, 0, 0, *last].into()).collect()
    }

    const FAILED: Result<Vec<IpAddr>, LookupError> = Err(LookupError::Empty);

    #[test]
    fn the_last_addresses_stay_for_so_long_and_not_longer() {
        let (dns, start) = (dns(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut name = Name::new(None, start);
        assert!(name.ask(start) && !name.ask(start) && !name.is_answered());
        let found = name.answered(&dns, Ok(addresses(&[2, 1, 2])), at(1));
        assert_eq!(found, News::Found(addresses(&[1, 2]).into()));
        assert_eq!(name.next(), Some(at(6)));
        assert_eq!(name.answered(&dns, Ok(addresses(&[2, 1])), at(6)), News::None);

        assert_eq!(name.answered(&dns, FAILED, at(11)), News::Failing(LookupError::Empty));
        // Failing again does not begin the time anew, and neither does an answer without addresses.
        assert_eq!(name.answered(&dns, FAILED, at(40)), News::None);
        assert_eq!(name.answered(&dns, Ok(Vec::new()), at(66)), News::None);
        assert_eq!(*name.addresses(), *addresses(&[1, 2]));
        assert!(!name.expired(at(70)));
        assert_eq!(name.next(), Some(at(71)));
        assert!(name.expired(at(71)) && !name.expired(at(72)));
        assert!(name.addresses().is_empty());

        let found = name.answered(&dns, Ok(addresses(&[3])), at(80));
        assert_eq!(found, News::Found(addresses(&[3]).into()));
        assert_eq!(name.answered(&dns, FAILED, at(85)), News::Failing(LookupError::Empty));
        assert!(!name.expired(at(144)) && name.expired(at(145)));
    }

    #[test]
    fn what_is_found_again_in_time_was_never_gone() {
        let (dns, start) = (dns(), Instant::now());
        let mut name = Name::new(Some(addresses(&[1]).into()), start);
        assert_eq!(name.answered(&dns, FAILED, start), News::Failing(LookupError::Empty));
        assert_eq!(*name.addresses(), *addresses(&[1]));
        let later = start + Duration::from_secs(59);
        name.answered(&dns, Ok(addresses(&[1])), later);
        assert!(!name.expired(start + Duration::from_secs(1_000)));
    }

    #[test]
    fn a_name_that_never_resolved_has_nothing_to_keep() {
        let mut name = Name::new(None, Instant::now());
        assert_eq!(name.answered(&dns(), FAILED, Instant::now()), News::Nowhere(LookupError::Empty));
        assert!(name.is_answered() && name.addresses().is_empty());
    }

    #[test]
    fn nothing_is_kept_for_no_time() {
        let dns = Dns { keep_for: spillway_policy::unit::Duration::from_millis(0), ..dns() };
        let mut name = Name::new(None, Instant::now());
        name.answered(&dns, Ok(addresses(&[1])), Instant::now());
        assert_eq!(name.answered(&dns, FAILED, Instant::now()), News::Nowhere(LookupError::Empty));
    }
}
