//! Graded back-pressure: under load, some requests are turned away so that the others are served.
//!
//! Each policy measures itself over all workers: the largest share in use of any of its bulkheads in the last second, and how many of the answers of the last five to
//! ten seconds were failures or slow. A rule comes into force when all its conditions hold at once (`p99` and `errors` only with twenty answers or more), within a tenth of a second.
//! It goes out of force when one of them has fallen below nine tenths of its threshold *and stayed there for five seconds*: turning requests away makes the signs of pressure go
//! away, and a rule that followed them at once would flap.
//!
//! In force, it rejects the requests of its levels that match it, but for the share that `admit` lets pass, which is exact in every worker.

use std::rc::Rc;

use crate::config;
use crate::engine::Needs;
use crate::reaction::Reaction;
use crate::record::Reader;
use crate::request_match::Matcher;
use crate::store::{CasError, Store, StoreError};
use crate::table::{ATTEMPTS, Access, ONLY, Table};
use crate::turn::Turn;
use crate::unit::{Duration, Ratio};

/// Rules of one policy; their state has to fit in one record.
pub(crate) const MOST: u32 = 16;

/// The same as a length.
const PLACES: usize = MOST as usize;

/// Between two visits to the store.
const PACE: u64 = 100_000_000;
/// How long a share in use counts, twice.
const SHORT: u64 = 500_000_000;
/// How long answers count, twice.
const LONG: u64 = 5_000_000_000;
/// How long signs of pressure must be gone.
const CALM: u64 = 5_000_000_000;
/// Fewer answers than this say nothing.
const ENOUGH: u32 = 20;

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Degrade {
    pub(crate) rule: Rc<str>,
    pub(crate) only: Matcher,
    pub(crate) reaction: Reaction,
    /// Empty: all levels.
    shed: Vec<Rc<str>>,
    /// Hundredths of a percent.
    admit: u16,
    /// What `admit` still owes, in the same measure.
    credit: u16,
    /// Under which name its state is kept.
    id: u64,
    saturation: Option<u16>,
    p99: Option<u64>,
    errors: Option<u16>,
    is_active: bool,
}

/// A policy's rules and what this worker knows of the pressure on it.
#[derive(Debug)]
pub(crate) struct Degrading {
    pub(crate) policy: Rc<str>,
    pub(crate) rules: Vec<Degrade>,
    table: Table,
    /// Not yet in the store.
    pending: Tally,
    share: u16,
    visited: Option<u64>,
}

/// Answers, and how many of them took how long: for each rule, its threshold and nine tenths of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    total: u32,
    failed: u32,
    slow: [[u32; 2]; PLACES],
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        self.failed = self.failed.saturating_add(other.failed);
        for (mine, theirs) in self.slow.iter_mut().flatten().zip(other.slow.iter().flatten()) {
            *mine = mine.saturating_add(*theirs);
        }
    }
}

/// A rule's shared state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    id: u64,
    is_active: bool,
    /// Since when one of the conditions does not hold; 0: they all do.
    calm: u64,
}

/// What all workers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Shared {
    shares: Turn<u16>,
    answers: Turn<Tally>,
    states: [State; PLACES],
}

impl Degrade {
    fn compile(rule: &config::Degrade, needs: &mut Needs) -> Self {
        let config::Degrade { name, when, shed, admit, only, mode, response } = rule.clone();
        let config::Pressure { saturation, p99, errors } = when;
        needs.latency |= p99.is_some();
        Self {
            rule: Rc::from(name.as_str()),
            only: Matcher::compile(&only, needs),
            reaction: Reaction::new(mode, config::OnFailure::Allow, response),
            shed: shed.iter().map(|level| Rc::from(level.as_str())).collect(),
            admit: admit.map_or(0, Ratio::basis_points),
            credit: 0,
            id: id(&name),
            saturation: saturation.map(Ratio::basis_points),
            p99: p99.map(Duration::as_nanos),
            errors: errors.map(Ratio::basis_points),
            is_active: false,
        }
    }

    /// Whether the rule is in force.
    pub(crate) const fn is_active(&self) -> bool {
        self.is_active
    }

    /// Whether the rule is in force for requests of this level.
    pub(crate) fn is_about(&self, level: Option<&str>) -> bool {
        self.is_active && self.sheds(level)
    }

    /// Whether the rule is about requests of this level when it is in force.
    pub(crate) fn sheds(&self, level: Option<&str>) -> bool {
        let listed = || level.is_some_and(|level| self.shed.iter().any(|shed| **shed == *level));
        self.shed.is_empty() || listed()
    }

    /// Whether a request that the rule is about passes all the same.
    pub(crate) fn admits(&mut self) -> bool {
        self.credit = self.credit.saturating_add(self.admit);
        let admits = self.credit >= 10_000;
        if admits {
            self.credit -= 10_000;
        }
        admits
    }

    /// Whether all conditions hold; `tenths` of each threshold, 10 or 9.
    fn holds(&self, place: usize, share: u16, tally: &Tally, tenths: u64) -> bool {
        let part = |count: u32, points: u64| u64::from(count) * 100_000 >= u64::from(tally.total) * points;
        let is_known = tally.total >= ENOUGH;
        let slow = tally.slow.get(place).copied().unwrap_or_default();
        let [over, nearly] = slow;
        let slow = if tenths == 10 { over } else { nearly };
        self.saturation.is_none_or(|saturation| u64::from(share) * 10 >= u64::from(saturation) * tenths)
            && self.p99.is_none_or(|_| is_known && part(slow, 1_000))
            && self.errors.is_none_or(|errors| is_known && part(tally.failed, u64::from(errors) * tenths))
    }
}

/// A rule's name as a number: FNV-1a. It only tells the rules of one policy from each other.
fn id(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        .max(1)
}

impl Degrading {
    pub(crate) fn new(policy: Rc<str>, rules: &[config::Degrade], needs: &mut Needs) -> Self {
        let table = Table::new("degrade", &policy, "-", None);
        let rules = rules.iter().map(|rule| Degrade::compile(rule, needs)).collect();
        Self { policy, rules, table, pending: Tally::default(), share: 0, visited: None }
    }

    /// Where its state is kept.
    pub(crate) const fn table(&self) -> &Table {
        &self.table
    }

    /// A bulkhead of the policy has this share in use, in hundredths of a percent.
    pub(crate) fn saturated(&mut self, share: u16) {
        self.share = self.share.max(share);
    }

    /// A request of the policy was answered.
    pub(crate) fn answered(&mut self, failed: bool, latency: u64) {
        let mut tally = Tally { total: 1, failed: u32::from(failed), ..Tally::default() };
        for (rule, slow) in self.rules.iter().zip(&mut tally.slow) {
            if let Some(p99) = rule.p99 {
                *slow = [u32::from(latency >= p99), u32::from(latency >= p99 / 10 * 9)];
            }
        }
        self.pending.add(&tally);
    }

    /// Whether it is time to visit the store.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.visited.is_none_or(|visited| now.abs_diff(visited) >= PACE)
    }

    /// Tells the others what this worker has seen, and learns what is in force.
    pub(crate) fn visit<S>(&mut self, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        let now = access.now;
        // A store that does not answer is asked at the same pace as one that does.
        self.visited = Some(now);
        for _ in 0..ATTEMPTS {
            let version = self.table.read(ONLY, access)?;
            let before = Shared::decode(access.bytes);
            let mut shared = before.unwrap_or_default();
            shared.shares.advance(now / SHORT);
            shared.answers.advance(now / LONG);
            shared.shares.current = shared.shares.current.max(self.share);
            shared.answers.current.add(&self.pending);
            let states = self.judge(&shared, now);
            shared.states = states;
            if before != Some(shared) {
                shared.encode(access.bytes);
                match self.table.write(ONLY, version, access) {
                    Ok(()) => {}
                    Err(CasError::Conflict) => continue,
                    Err(CasError::Failed(error)) => return Err(error),
                }
            }
            self.pending = Tally::default();
            self.share = 0;
            for (rule, state) in self.rules.iter_mut().zip(states) {
                rule.is_active = state.is_active;
            }
            return Ok(());
        }
        Err(StoreError)
    }

    fn judge(&self, shared: &Shared, now: u64) -> [State; PLACES] {
        let share = shared.shares.current.max(shared.shares.before);
        let mut tally = shared.answers.current;
        tally.add(&shared.answers.before);
        let mut states = [State::default(); PLACES];
        for (place, (rule, state)) in self.rules.iter().zip(&mut states).enumerate() {
            let known = shared.states.iter().find(|known| known.id == rule.id);
            *state = known.copied().unwrap_or(State { id: rule.id, ..State::default() });
            if !state.is_active {
                state.is_active = rule.holds(place, share, &tally, 10);
                state.calm = 0;
            } else if rule.holds(place, share, &tally, 9) {
                state.calm = 0;
            } else if state.calm == 0 || state.calm > now.saturating_add(CALM) {
                state.calm = now.max(1);
            } else if now.saturating_sub(state.calm) >= CALM {
                *state = State { id: rule.id, ..State::default() };
            }
        }
        states
    }
}

impl Shared {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let Self { shares, answers, states } = self;
        bytes.clear();
        bytes.extend_from_slice(&shares.number.to_le_bytes());
        bytes.extend_from_slice(&shares.current.to_le_bytes());
        bytes.extend_from_slice(&shares.before.to_le_bytes());
        bytes.extend_from_slice(&answers.number.to_le_bytes());
        for tally in [&answers.current, &answers.before] {
            bytes.extend_from_slice(&tally.total.to_le_bytes());
            bytes.extend_from_slice(&tally.failed.to_le_bytes());
            tally.slow.iter().flatten().for_each(|count| bytes.extend_from_slice(&count.to_le_bytes()));
        }
        for State { id, is_active, calm } in states {
            bytes.extend_from_slice(&id.to_le_bytes());
            bytes.push(u8::from(*is_active));
            bytes.extend_from_slice(&calm.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut shared = Self::default();
        shared.shares.number = reader.u64()?;
        shared.shares.current = reader.take().map(u16::from_le_bytes)?;
        shared.shares.before = reader.take().map(u16::from_le_bytes)?;
        shared.answers.number = reader.u64()?;
        for tally in [&mut shared.answers.current, &mut shared.answers.before] {
            tally.total = reader.u32()?;
            tally.failed = reader.u32()?;
            for count in tally.slow.iter_mut().flatten() {
                *count = reader.u32()?;
            }
        }
        for state in &mut shared.states {
            *state = State { id: reader.u64()?, is_active: reader.u8()? == 1, calm: reader.u64()? };
        }
        reader.is_at_end().then_some(shared)
    }
}

#[cfg(test)]
mod tests;
