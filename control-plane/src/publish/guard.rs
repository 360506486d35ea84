//! Guarded push: a few proxies try a new snapshot before the others get it.
//!
//! A pure state machine of one attempt with one snapshot. It is shown how every proxy of the fleet stands to that snapshot and says who is to
//! have it; what came in between two looks does not matter, so no event can be missed. Time is an argument, in any monotonic measure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fleet::{Answer, LinkId};

/// How a fleet wants new snapshots to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guard {
    /// So many have to accept it. In a fleet with fewer proxies, all of them.
    pub(super) canaries: usize,
    /// A canary that has not answered after this time is silent, and another one is asked.
    pub(super) timeout: Duration,
}

/// One attempt.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// Who has been given the snapshot, and when they are called silent.
    canaries: BTreeMap<LinkId, Duration>,
}

/// What follows from a look at the proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Exactly these are to have the snapshot for now, and there is something new to see by `until` even if no proxy says anything.
    Wait {
        /// Who tries it, silent ones included: what was sent can't be called back, and a late answer counts.
        canaries: Vec<LinkId>,
        /// `None`: nothing happens without a proxy.
        until: Option<Duration>,
    },
    /// Everybody may have it.
    Accepted,
    /// Nobody may have it: a canary refused it, and this is what it said.
    Refused(Answer),
}

impl Trial {
    /// Looks at the fleet, `proxies` in the order in which they connected.
    pub(super) fn look(&mut self, guard: Guard, now: Duration, proxies: &[(LinkId, Answer)]) -> Verdict {
        self.canaries.retain(|id, _| proxies.iter().any(|(proxy, _)| proxy == id));
        let (mut accepted, mut waiting) = (0, 0);
        for (id, answer) in proxies {
            let Some(deadline) = self.canaries.get(id) else { continue };
            match answer {
                Answer::Refused(..) => return Verdict::Refused(answer.clone()),
                Answer::Accepted => accepted += 1,
                Answer::None | Answer::Connecting => waiting += usize::from(now < *deadline),
            }
        }
        if accepted >= guard.canaries {
            return Verdict::Accepted;
        }
        // Whoever has just connected is given what the fleet has, and can be a canary once it has that.
        let free = proxies
            .iter()
            .filter(|(id, answer)| !self.canaries.contains_key(id) && !matches!(answer, Answer::Connecting));
        let missing = guard.canaries.saturating_sub(accepted + waiting);
        let chosen: Vec<LinkId> = free.map(|(id, _)| *id).take(missing).collect();
        if chosen.is_empty() && waiting == 0 && accepted > 0 {
            // Nobody is left to ask, and everybody who spoke has accepted.
            return Verdict::Accepted;
        }
        self.canaries.extend(chosen.into_iter().map(|id| (id, now.saturating_add(guard.timeout))));
        Verdict::Wait {
            canaries: self.canaries.keys().copied().collect(),
            until: self.canaries.values().copied().filter(|deadline| now < *deadline).min(),
        }
    }
}

#[cfg(test)]
mod tests;
