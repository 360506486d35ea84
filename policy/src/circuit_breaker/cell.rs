//! One breaker: its state and what changes it, without any store.
//!
//! Closed, outcomes are counted in a ring of ten parts of the window; when enough of them are failures it opens. Open, nothing passes until its time is over.
//! Then it is half-open and hands out exactly so many tickets as there are probes: all must come back as successes to close it, one failure opens it again.
//!
//! Each change of state begins a new *generation*. What was admitted in an earlier one says nothing about this one: it is neither counted nor taken for a
//! probe's result.

mod window;

use self::window::PARTS;
use crate::decision::BreakerState;
use crate::record::Reader;
use crate::table::CLOCK_SKEW;

pub(crate) use self::window::{Tally, Window};

/// The length of an encoded cell.
const LENGTH: usize = 8 + 8 + 4 + 1 + 8 + 8 + PARTS * 12;

/// A probe that has not been heard of for so long after the last ticket was given out is lost, even where `openFor` is shorter: longer than most requests may take.
const MIN_TICKET_LIFE: u64 = 30_000_000_000;

/// What a rule says, in nanoseconds and ready to compare.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms {
    /// A tenth of the window.
    pub(crate) part: u64,
    pub(crate) min_requests: u32,
    /// Hundredths of a percent; `None`: no such condition.
    pub(crate) error_ratio: Option<u16>,
    /// The same of slow answers.
    pub(crate) slow_ratio: Option<u16>,
    /// Failures; needs no `min_requests`.
    pub(crate) error_count: Option<u32>,
    pub(crate) open_for: u64,
    /// Each failed half-open multiplies `open_for` by this.
    pub(crate) factor: u32,
    /// `open_for` never grows beyond.
    pub(crate) longest: u64,
    pub(crate) probes: u32,
}

impl Terms {
    /// The part of a window of so many nanoseconds; never 0.
    pub(crate) const fn part_of(window: u64) -> u64 {
        let part = window.div_ceil(PARTS as u64);
        if part == 0 { 1 } else { part }
    }

    /// How long a breaker stays open after so many half-opens in a row that failed.
    fn open_for(&self, streak: u32) -> u64 {
        let grown = self.open_for.saturating_mul(u64::from(self.factor.max(1)).saturating_pow(streak));
        grown.min(self.longest.max(self.open_for))
    }

    /// How long a breaker that is open since then stays so.
    fn remaining(&self, since: u64, streak: u32, now: u64) -> u64 {
        // One that opened far ahead of now did so by a clock that has been set back since.
        let ahead = since > now.saturating_add(CLOCK_SKEW);
        if ahead { 0 } else { since.saturating_add(self.open_for(streak)).saturating_sub(now) }
    }

    fn ticket_life(&self) -> u64 {
        self.open_for.max(MIN_TICKET_LIFE)
    }
}

/// What a breaker does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Closed(Window),
    Open {
        /// Until when is the rule's to say, so that a changed `openFor` takes effect at once.
        since: u64,
    },
    HalfOpen {
        /// Tickets given out and not heard of.
        outstanding: u32,
        succeeded: u32,
        /// Grows when outstanding tickets are given up, so that they are not counted when they turn up after all.
        batch: u32,
        /// When outstanding tickets are given up.
        deadline: u64,
    },
}

impl State {
    pub(crate) const fn kind(&self) -> BreakerState {
        match self {
            Self::Closed(_) => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

/// What may a request do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Pass; its outcome counts.
    Pass,
    /// Pass if it gets a ticket.
    Probe,
    /// Not pass for so many nanoseconds.
    Reject { wait: u64 },
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    Success,
    Failure,
    /// Nobody knows: the ticket goes to somebody else.
    Unknown,
}

/// One breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Whose it is; 0: nobody's.
    pub(crate) fingerprint: u64,
    /// The state's number: the time it began, or one more than the one before.
    pub(crate) generation: u64,
    /// How many half-opens in a row have failed.
    streak: u32,
    pub(crate) state: State,
}

impl Cell {
    /// A closed one that knows nothing yet.
    pub(crate) const fn new(fingerprint: u64, part: u64, now: u64) -> Self {
        Self { fingerprint, generation: now, streak: 0, state: State::Closed(Window::new(part, now)) }
    }

    fn enter(&mut self, state: State, now: u64) {
        self.generation = now.max(self.generation.saturating_add(1));
        self.state = state;
    }

    fn open(&mut self, now: u64) {
        let again = matches!(self.state, State::HalfOpen { .. });
        self.streak = if again { self.streak.saturating_add(1) } else { 0 };
        self.enter(State::Open { since: now }, now);
    }

    /// What a request may do now. Changes nothing.
    pub(crate) fn permit(&self, terms: &Terms, now: u64) -> Permit {
        match self.state {
            State::Closed(_) => Permit::Pass,
            State::Open { since } => match terms.remaining(since, self.streak, now) {
                0 => Permit::Probe,
                wait => Permit::Reject { wait },
            },
            State::HalfOpen { outstanding, succeeded, deadline, .. } => {
                let outstanding = if now >= deadline { 0 } else { outstanding };
                // When the probes are back is anyone's guess.
                if outstanding.saturating_add(succeeded) < terms.probes || succeeded >= terms.probes {
                    Permit::Probe
                } else {
                    Permit::Reject { wait: 0 }
                }
            }
        }
    }

    /// Takes a ticket, if there is one: its batch. An open breaker whose time is over becomes half-open by that.
    pub(crate) fn take_ticket(&mut self, terms: &Terms, now: u64) -> Option<u32> {
        match &mut self.state {
            State::Closed(_) => None,
            State::Open { since } if terms.remaining(*since, self.streak, now) > 0 => None,
            State::Open { .. } => {
                let deadline = now.saturating_add(terms.ticket_life());
                self.enter(State::HalfOpen { outstanding: 1, succeeded: 0, batch: 0, deadline }, now);
                Some(0)
            }
            State::HalfOpen { outstanding, succeeded, batch, deadline } => {
                if now >= *deadline {
                    *outstanding = 0;
                    *batch = batch.wrapping_add(1);
                }
                if outstanding.saturating_add(*succeeded) >= terms.probes {
                    return None;
                }
                *outstanding = outstanding.saturating_add(1);
                *deadline = now.saturating_add(terms.ticket_life());
                Some(*batch)
            }
        }
    }

    /// Closes a half-open breaker for which enough probes have already succeeded, because its rule asks for fewer by now.
    pub(crate) fn settle(&mut self, terms: &Terms, now: u64) -> bool {
        let done = matches!(self.state, State::HalfOpen { succeeded, .. } if succeeded >= terms.probes);
        if done {
            self.enter(State::Closed(Window::new(terms.part, now)), now);
        }
        done
    }

    /// Takes note of how a probe ended. Says whether there is anything to write.
    pub(crate) fn resolve(
        &mut self,
        generation: u64,
        ticket: u32,
        result: ProbeResult,
        terms: &Terms,
        now: u64,
    ) -> bool {
        if self.generation != generation {
            return false;
        }
        let State::HalfOpen { outstanding, succeeded, batch, .. } = &mut self.state else { return false };
        if *batch != ticket {
            return false;
        }
        match result {
            ProbeResult::Failure => self.open(now),
            ProbeResult::Unknown => *outstanding = outstanding.saturating_sub(1),
            ProbeResult::Success => {
                *outstanding = outstanding.saturating_sub(1);
                *succeeded = succeeded.saturating_add(1);
                self.settle(terms, now);
            }
        }
        true
    }

    /// Counts outcomes of requests admitted in `generation`. Says whether there is anything to write.
    pub(crate) fn count(&mut self, generation: u64, tally: Tally, terms: &Terms, now: u64) -> bool {
        if self.generation != generation {
            return false;
        }
        let State::Closed(window) = &mut self.state else { return false };
        window.advance(terms.part, now);
        window.add(window.newest, tally);
        if window.sum().trips(terms) {
            self.open(now);
        }
        true
    }

    /// How much would be lost with this breaker, for choosing between several: nothing, an old or a small count, or (`None`) more than may be lost.
    pub(crate) fn worth(&self, terms: &Terms, now: u64) -> Option<(u32, u64)> {
        if self.fingerprint == 0 {
            return Some((0, 0));
        }
        match self.state {
            State::Closed(mut window) => {
                window.advance(terms.part, now);
                Some((window.sum().total.saturating_add(1), self.generation))
            }
            // Nobody has come to probe for so long that nobody uses it.
            State::Open { since } => {
                let idle = now.saturating_sub(since).saturating_sub(terms.open_for);
                (idle > terms.ticket_life()).then_some((1, self.generation))
            }
            State::HalfOpen { deadline, .. } => {
                (now > deadline.saturating_add(terms.ticket_life())).then_some((1, self.generation))
            }
        }
    }

    /// Appends [`LENGTH`] bytes.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        let end = bytes.len() + LENGTH;
        let numbers = |bytes: &mut Vec<u8>, tag: u8, a: u64, b: u64| {
            bytes.push(tag);
            bytes.extend_from_slice(&a.to_le_bytes());
            bytes.extend_from_slice(&b.to_le_bytes());
        };
        let pair = |a: u32, b: u32| u64::from(a) << 32 | u64::from(b);
        bytes.extend_from_slice(&self.fingerprint.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.streak.to_le_bytes());
        match &self.state {
            State::Closed(Window { part, newest, tallies }) => {
                numbers(bytes, 0, *part, *newest);
                for Tally { total, failed, slow } in tallies {
                    bytes.extend_from_slice(&pair(*total, *failed).to_le_bytes());
                    bytes.extend_from_slice(&slow.to_le_bytes());
                }
            }
            State::Open { since } => numbers(bytes, 1, *since, 0),
            State::HalfOpen { outstanding, succeeded, batch, deadline } => {
                numbers(bytes, 2, pair(*outstanding, *succeeded), *deadline);
                bytes.extend_from_slice(&batch.to_le_bytes());
            }
        }
        bytes.resize(end, 0);
    }

    /// From [`Cell::encode`].
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let bytes: [u8; LENGTH] = reader.take()?;
        let mut reader = Reader::new(&bytes);
        let fingerprint = reader.u64()?;
        let generation = reader.u64()?;
        let streak = reader.u32()?;
        let split =
            |pair: u64| Some((u32::try_from(pair >> 32).ok()?, u32::try_from(pair & 0xffff_ffff).ok()?));
        let (tag, a, b) = (reader.u8()?, reader.u64()?, reader.u64()?);
        let state = match tag {
            0 if a > 0 => {
                let mut tallies = [Tally::default(); PARTS];
                for tally in &mut tallies {
                    let (total, failed) = split(reader.u64()?)?;
                    *tally = Tally { total, failed, slow: reader.u32()? };
                }
                State::Closed(Window { part: a, newest: b, tallies })
            }
            1 => State::Open { since: a },
            2 => {
                let (outstanding, succeeded) = split(a)?;
                State::HalfOpen { outstanding, succeeded, batch: reader.u32()?, deadline: b }
            }
            _ => return None,
        };
        Some(Self { fingerprint, generation, streak, state })
    }
}
