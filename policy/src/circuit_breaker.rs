//! Circuit breakers that all workers of a proxy share.
//!
//! Where nothing else is said, outcomes are failures when the response's status is 5xx, when the upstream failed without a whole answer of its own (reset, refused, timeout), or, in gRPC,
//! when the status is `UNKNOWN`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNAVAILABLE` or `DATA_LOSS`. A client that goes away is no outcome. The breaker opens when the share of
//! failures among the outcomes in its window is at least `errorRatio`, or that of slow answers at least `slow.ratio`, and there are `minRequests` of them or more; or when
//! there are `errorCount` failures, however many requests there were.
//!
//! With `backoff` each half-open that fails makes the next opening longer by `factor`, up to `max`; closing makes it `openFor` again.
//!
//! The state is in the store; each worker looks at it again when what it knows is five milliseconds old, and adds the outcomes that it has counted by the same visit, a failure
//! at once if the last one was that long ago. So open means open on every worker within five milliseconds, and what one worker has counted is known to all by its next request after that time, or by
//! its next tick. Between visits a request costs no shared access at all, open or closed. Tickets for probes are always taken from the store: there are never more than `probes`
//! of them out and succeeded, whatever the workers do at the same time. One that is not heard of (its worker broke down) is given out again after `openFor`, at least 30 seconds.
//!
//! A rule keeps about 4,096 keys in a fixed-size table. A key that finds its place full takes over the breaker with the fewest outcomes in its window; open and half-open ones
//! stay, and where there are only those the newcomer has no breaker.

mod cell;
mod census;
mod known;
mod record;

use std::num::NonZeroU32;
use std::rc::Rc;

use self::cell::{Cell, Permit, ProbeResult, Tally, Terms};
use self::census::Census;
use self::known::{Known, Seen};
use self::record::{Unknown, WAYS, decode, find};
use crate::config::{self, Failures};
use crate::decision::{Outcome, Transition};
use crate::engine::Needs;
use crate::reaction::Reaction;
use crate::remembered::Remembered;
use crate::route_key::RuleKey;
use crate::store::{CasError, Store, StoreError};
use crate::table::{ATTEMPTS, Access, Slot, Table};
use crate::unit::Ratio;

pub(crate) use self::census::Count;

/// Records in the table of a breaker with key: 1,024 of four places take about two thirds of a megabyte.
const RECORDS: u16 = 1_024;

/// How old what a worker knows may be, and what it has counted.
const PACE: u64 = 5_000_000;

/// A key that was asked about so long ago has no claim to its place among those that a worker remembers.
const FRESH: u64 = 100_000_000;

/// How old it may be that all probes are out: one of them may have been decided.
const PROBING_PACE: u64 = 1_000_000;

/// A compiled circuit breaker and what this worker knows of it.
#[derive(Debug)]
pub(crate) struct Breaker {
    pub(crate) policy: Rc<str>,
    pub(crate) rule: Rc<str>,
    pub(crate) key: RuleKey,
    pub(crate) reaction: Reaction,
    failures: Failures,
    /// Answers that take longer, in nanoseconds, are slow.
    slow: Option<u64>,
    terms: Terms,
    table: Table,
    known: Remembered<Known>,
    census: Census,
}

/// What a request may do, as far as one breaker is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Pass, watched or (where the store does not answer or the table is full) not.
    Pass(Option<Watch>),
    /// Pass if there is still a ticket when everything else has agreed.
    Probe(Slot),
    /// Not pass for so many nanoseconds; 0: unknown.
    Reject { wait: u64 },
}

/// What a breaker makes of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

/// What an admission remembers for a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watch {
    slot: Slot,
    generation: u64,
    ticket: Option<u32>,
}

impl Watch {
    pub(crate) const fn is_probe(&self) -> bool {
        self.ticket.is_some()
    }
}

impl Check {
    const fn watched(slot: Slot, generation: u64) -> Self {
        Self::Pass(Some(Watch { slot, generation, ticket: None }))
    }
}

const fn is_recent(then: u64, now: u64, pace: u64) -> bool {
    now.abs_diff(then) < pace
}

impl Breaker {
    pub(crate) fn new(policy: Rc<str>, rule: config::CircuitBreaker, needs: &mut Needs) -> Self {
        let config::CircuitBreaker {
            name,
            key,
            window,
            min_requests,
            trip: config::Trip { error_ratio, slow, error_count },
            open_for,
            probes,
            failures,
            backoff,
            mode,
            on_failure,
            response,
        } = rule;
        needs.latency |= slow.is_some();
        let terms = Terms {
            part: Terms::part_of(window.as_nanos()),
            min_requests: min_requests.get(),
            error_ratio: error_ratio.map(Ratio::basis_points),
            slow_ratio: slow.map(|slow| slow.ratio.basis_points()),
            error_count: error_count.map(NonZeroU32::get),
            open_for: open_for.as_nanos(),
            factor: backoff.map_or(1, |backoff| backoff.factor.get()),
            longest: backoff.map_or(0, |backoff| backoff.max.as_nanos()),
            probes: probes.get(),
        };
        let key = RuleKey::compile(&key, needs);
        let table = Table::new("breaker", &policy, &name, (!key.is_empty()).then_some(RECORDS));
        let known = Remembered::new(table.is_keyed());
        let census = Census::new(&policy, &name, table.is_keyed());
        Self {
            policy,
            rule: Rc::from(name.as_str()),
            key,
            reaction: Reaction::new(mode, on_failure, response),
            failures: failures.unwrap_or_default(),
            slow: slow.map(|slow| slow.over.as_nanos()),
            terms,
            table,
            known,
            census,
        }
    }

    /// What an outcome says about the upstream; `None`: nothing.
    pub(crate) fn verdict(&self, outcome: &Outcome, latency: u64) -> Option<Verdict> {
        let failed = outcome.failed(&self.failures)?;
        Some(Verdict { failed, slow: self.slow.is_some_and(|slow| latency > slow) })
    }

    pub(crate) const fn table(&self) -> &Table {
        &self.table
    }

    /// Everything that this rule keeps in the store.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        [&self.table].into_iter().chain(self.census.table())
    }

    /// How many of the rule's breakers are in which state; `None`: that takes more than `reads`, which become fewer, and goes on with the next call.
    pub(crate) fn census<S>(
        &mut self,
        reads: &mut usize,
        access: &mut Access<'_, S>,
    ) -> Result<Option<Count>, StoreError>
    where
        S: Store + ?Sized,
    {
        self.census.count(&mut self.table, reads, access)
    }

    /// What a request may do. Takes no ticket.
    pub(crate) fn check<S>(&mut self, slot: Slot, access: &mut Access<'_, S>) -> Result<Check, StoreError>
    where
        S: Store + ?Sized,
    {
        let now = access.now;
        let known = match self.known.get(slot) {
            Some(known) => *known,
            None => self.remember(slot, access),
        };
        match known.seen {
            Seen::Closed if is_recent(known.asked, now, PACE) => Ok(Check::watched(slot, known.generation)),
            // Nobody ends that before its time.
            Seen::Open { until } if now < until => Ok(Check::Reject { wait: until - now }),
            Seen::Probing { until } if now < until && is_recent(known.asked, now, PROBING_PACE) => {
                Ok(Check::Reject { wait: 0 })
            }
            _ => self.ask(slot, access),
        }
    }

    /// The same where this worker does not know.
    #[inline(never)]
    fn ask<S>(&mut self, slot: Slot, access: &mut Access<'_, S>) -> Result<Check, StoreError>
    where
        S: Store + ?Sized,
    {
        let now = access.now;
        let permit =
            self.update(slot, Unknown::Create, access, |cell, terms| (cell.permit(terms, now), false))?;
        Ok(match permit {
            Some((Permit::Pass, cell)) => Check::watched(slot, cell.generation),
            Some((Permit::Probe, _)) => Check::Probe(slot),
            Some((Permit::Reject { wait }, _)) => Check::Reject { wait },
            None => Check::Pass(None),
        })
    }

    /// Takes a ticket for a request that may probe; somebody else may have had the last one.
    pub(crate) fn probe<S>(&mut self, slot: Slot, access: &mut Access<'_, S>) -> Result<Check, StoreError>
    where
        S: Store + ?Sized,
    {
        let now = access.now;
        let taken = self.update(slot, Unknown::Ignore, access, |cell, terms| {
            let settled = cell.settle(terms, now);
            match cell.take_ticket(terms, now) {
                Some(ticket) => ((Permit::Probe, Some(ticket)), true),
                None => ((cell.permit(terms, now), None), settled),
            }
        })?;
        Ok(match taken {
            Some(((Permit::Reject { wait }, _), _)) => Check::Reject { wait },
            Some(((_, ticket), cell)) => {
                Check::Pass(Some(Watch { slot, generation: cell.generation, ticket }))
            }
            None => Check::Pass(None),
        })
    }

    /// Takes note of how a request ended; `None`: nobody knows.
    pub(crate) fn complete<S>(
        &mut self,
        watch: Watch,
        verdict: Option<Verdict>,
        access: &mut Access<'_, S>,
    ) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        let Watch { slot, generation, ticket } = watch;
        let now = access.now;
        if let Some(ticket) = ticket {
            // Where slow answers trip the breaker, a slow one does not close it.
            let result = match verdict {
                Some(Verdict { failed: false, slow: false }) => ProbeResult::Success,
                Some(_) => ProbeResult::Failure,
                None => ProbeResult::Unknown,
            };
            return self
                .update(slot, Unknown::Ignore, access, |cell, terms| {
                    ((), cell.resolve(generation, ticket, result, terms, now))
                })
                .map(|_| ());
        }
        let Some(Verdict { failed, slow }) = verdict else { return Ok(()) };
        let mut known = match self.known.get(slot) {
            Some(known) => *known,
            None => self.remember(slot, access),
        };
        if generation < known.generation {
            return Ok(());
        }
        if generation > known.generation {
            known = Known { generation, ..Known::default() };
        }
        known.pending.add(Tally::one(failed, slow));
        self.known.put(slot, known);
        // What is well can wait for the next request that asks the store anyhow, or for the next tick.
        let waits = !(failed || slow) || is_recent(known.counted, now, PACE);
        if waits { Ok(()) } else { self.flush(slot, access) }
    }

    /// Tells the store what this worker has counted: what is due, or all; and where breakers have opened.
    pub(crate) fn settle<S>(&mut self, all: bool, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        let flushed = self.flush_pending(all, access);
        if self.census.has_news() { self.census.tell(access).and(flushed) } else { flushed }
    }

    fn flush_pending<S>(&mut self, all: bool, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        for index in 0..self.known.len() {
            if let Some((slot, known)) = self.known.at(index)
                && known.pending.total > 0
                && (all || !is_recent(known.counted, access.now, PACE))
            {
                self.flush(slot, access)?;
            }
        }
        Ok(())
    }

    fn flush<S>(&mut self, slot: Slot, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        self.update(slot, Unknown::Ignore, access, |_, _| ((), false)).map(|_| ())
    }

    /// Makes a place for what this worker will know of a key; so far that is nothing. If the place is another key's, that one is forgotten, and what was counted for it goes to the store.
    #[cold]
    fn remember<S>(&mut self, slot: Slot, access: &mut Access<'_, S>) -> Known
    where
        S: Store + ?Sized,
    {
        let now = access.now;
        let matters = |known: &Known| known.pending.total > 0 || is_recent(known.asked, now, FRESH);
        if let Some(other) = self.known.in_the_way(slot, matters) {
            // Where the store does not answer, these outcomes are lost: they are the other key's, and there is no place for them.
            let _ = self.flush(other, access);
        }
        self.known.put(slot, Known::default());
        Known::default()
    }

    /// Adds what has been counted for a key to its breaker and changes it, as one step. `change` says whether it changed anything; it may
    /// be called again, if other workers come in between. `None`: there is no breaker for the key.
    fn update<S, T>(
        &mut self,
        slot: Slot,
        unknown: Unknown,
        access: &mut Access<'_, S>,
        change: impl Fn(&mut Cell, &Terms) -> (T, bool),
    ) -> Result<Option<(T, Cell)>, StoreError>
    where
        S: Store + ?Sized,
    {
        let now = access.now;
        let terms = self.terms;
        let known = self.known.get(slot).copied();
        let Known { generation, pending, .. } = known.unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let version = self.table.read(slot, access)?;
            let ways = if self.table.is_keyed() { WAYS } else { 1 };
            let mut cells =
                decode(access.bytes, ways).unwrap_or_else(|| [Cell::new(0, terms.part, now); WAYS]);
            let cells = cells.get_mut(..ways).unwrap_or_default();
            let recorded = Count::of(cells);
            let Some((cell, is_new)) = find(cells, slot.fingerprint, unknown, &terms, now) else {
                if known.is_some() {
                    self.known.put(slot, Known::default());
                }
                return Ok(None);
            };
            let before = cell.state.kind();
            let counted = pending.total > 0 && cell.count(generation, pending, &terms, now);
            let (value, changed) = change(cell, &terms);
            let cell = *cell;
            if is_new || counted || changed {
                access.bytes.clear();
                for cell in &*cells {
                    cell.encode(access.bytes);
                }
                match self.table.write(slot, version, access) {
                    Ok(()) => self.census.note(slot.record, recorded, Count::of(cells)),
                    Err(CasError::Conflict) => continue,
                    Err(CasError::Failed(error)) => return Err(error),
                }
            }
            if let Some(Known { counted: before, .. }) = known {
                let counted = if counted { now } else { before };
                self.known.put(slot, Known { counted, ..Known::of(&cell, &terms, now) });
            }
            if cell.state.kind() != before {
                let (policy, rule) = (Rc::clone(&self.policy), Rc::clone(&self.rule));
                access.transitions.push(Transition { policy, rule, to: cell.state.kind() });
            }
            return Ok(Some((value, cell)));
        }
        Err(StoreError)
    }
}

#[cfg(test)]
mod tests;
