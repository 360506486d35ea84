//! Concurrency limits: so many requests of a key in flight at once, over all workers of a proxy.
//!
//! Each worker counts its own requests in the shared record of the key, under the name of its VM ([`Presence`]). What is in flight is the sum of the counts of the VMs that are
//! alive. So a VM that breaks down takes its counts with it, some five seconds later, and no count can leak: a request is counted before it passes and no more as
//! soon as its end is known, however it ended; where the store does not answer at the end, it is told later.
//!
//! The limit is fixed (a bulkhead), or found from latency (`adaptive`), by key.
//!
//! Keys with nothing in flight need no place, so the table is for what is in flight at one moment: some 65,536 keys with one worker. A key that finds no place in its record is not
//! counted, and passes or not as the rule's `onFailure` says.

use std::num::NonZeroU32;
use std::rc::Rc;

use crate::adaptive::{Bounds, Estimate, Sample};
use crate::config;
use crate::engine::Needs;
use crate::presence::{Owner, Presence};
use crate::reaction::Reaction;
use crate::record::Reader;
use crate::route_key::RuleKey;
use crate::store::{CasError, Store, StoreError, Version};
use crate::table::{ATTEMPTS, Access, Slot, Table};

/// Records in the table of a rule with key, of [`MAX_RECORD`] bytes each at the most: 8 MB, if all of them were full at some time.
const RECORDS: u16 = 8_192;

/// Records in the table of the limits that an adaptive rule with key has found, [`WAYS`] keys in each: half a megabyte for 8,192 keys.
const ESTIMATES: u16 = 1_024;
const WAYS: usize = 8;

/// The bytes of a record.
const MAX_RECORD: usize = 960;

/// How old what a worker knows of an adaptive limit may be, and what it has measured.
const PACE: u64 = 5_000_000;

/// How a rule limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Fixed(u32),
    Adaptive(Bounds),
}

/// A compiled concurrency limit and what this worker holds of it.
#[derive(Debug)]
pub(crate) struct Bulkhead {
    pub(crate) policy: Rc<str>,
    pub(crate) rule: Rc<str>,
    pub(crate) key: RuleKey,
    pub(crate) reaction: Reaction,
    /// The number of what its policy measures itself with.
    pub(crate) degrading: Option<u32>,
    limit: Limit,
    table: Table,
    estimates: Table,
    /// The record that was looked at last, from look to take.
    record: Vec<u8>,
    version: Option<Version>,
    /// Ends that the store has not been told.
    owed: Vec<Hold>,
    found: Found,
}

/// What this worker knows of one key's adaptive limit.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    slot: Slot,
    limit: u32,
    asked: u64,
    /// Answers that the store has not been told.
    pending: Sample,
}

/// A request's place in the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    slot: Slot,
    owner: Owner,
}

/// What a request finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    slot: Slot,
    pub(crate) limit: u32,
    owner: Owner,
    /// In flight, this request included.
    pub(crate) count: u32,
}

impl Room {
    /// The share in use with this request, in hundredths of a percent.
    pub(crate) fn share(&self) -> u16 {
        let share = u64::from(self.count) * 10_000 / u64::from(self.limit.max(1));
        u16::try_from(share).unwrap_or(u16::MAX)
    }

    fn is_full(&self) -> bool {
        self.count > self.limit
    }
}

/// As many are in flight as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Bulkhead {
    pub(crate) fn new(
        policy: Rc<str>,
        rule: config::Concurrency,
        degrading: Option<u32>,
        needs: &mut Needs,
    ) -> Self {
        let config::Concurrency { name, key, max, adaptive, mode, on_failure, response } = rule;
        let limit = match adaptive {
            Some(config::Adaptive { min, max }) => Limit::Adaptive(Bounds { min: min.get(), max: max.get() }),
            None => Limit::Fixed(max.map_or(u32::MAX, NonZeroU32::get)),
        };
        needs.latency |= adaptive.is_some();
        let key = RuleKey::compile(&key, needs);
        let rule = Rc::from(name.as_str());
        let reaction = Reaction::new(mode, on_failure, response);
        let keyed = !key.is_empty();
        let table = Table::new("flight", &policy, &rule, keyed.then_some(RECORDS));
        let estimates = Table::new("gradient", &policy, &rule, keyed.then_some(ESTIMATES));
        Self {
            policy,
            rule,
            key,
            reaction,
            degrading,
            limit,
            table,
            estimates,
            record: Vec::new(),
            version: None,
            owed: Vec::new(),
            found: Found::default(),
        }
    }

    pub(crate) const fn table(&self) -> &Table {
        &self.table
    }

    /// Whether there is room for one more. Takes nothing.
    pub(crate) fn look<S>(
        &mut self,
        slot: Slot,
        presence: &mut Presence,
        access: &mut Access<'_, S>,
    ) -> Result<Result<Room, (Full, Room)>, StoreError>
    where
        S: Store + ?Sized,
    {
        let limit = match self.limit {
            Limit::Fixed(limit) => limit,
            Limit::Adaptive(bounds) => self.limit_of(slot, bounds, access)?,
        };
        let owner = presence.owner(access.store)?;
        let count = self.read(slot, presence, access)?.saturating_add(1);
        let room = Room { slot, limit, owner, count };
        Ok(if room.is_full() { Err((Full, room)) } else { Ok(room) })
    }

    /// Reads the record into the rule's own buffer: what is in flight.
    fn read<S>(
        &mut self,
        slot: Slot,
        presence: &Presence,
        access: &mut Access<'_, S>,
    ) -> Result<u32, StoreError>
    where
        S: Store + ?Sized,
    {
        self.version = self.table.read(slot, access)?;
        std::mem::swap(&mut self.record, access.bytes);
        let counted = |place: &Place| place.fingerprint == slot.fingerprint && !presence.is_gone(place.owner);
        let places = places(&self.record, self.table.is_keyed());
        Ok(places.filter(counted).fold(0, |sum, place| place.count.saturating_add(sum)))
    }

    /// Takes the room that was found, or what is left of it if others were faster.
    pub(crate) fn take<S>(
        &mut self,
        room: Room,
        presence: &Presence,
        access: &mut Access<'_, S>,
    ) -> Result<Result<Hold, Full>, StoreError>
    where
        S: Store + ?Sized,
    {
        let Room { slot, owner, .. } = room;
        let mut room = room;
        for _ in 0..ATTEMPTS {
            if room.is_full() {
                return Ok(Err(Full));
            }
            self.change(slot, owner, 1, presence, access)?;
            match self.table.write(slot, self.version, access) {
                Ok(()) => return Ok(Ok(Hold { slot, owner })),
                Err(CasError::Conflict) => room.count = self.read(slot, presence, access)?.saturating_add(1),
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }

    /// A request is over; `latency` of its answer in nanoseconds, if that says anything about the upstream.
    pub(crate) fn release<S>(
        &mut self,
        hold: Hold,
        latency: Option<u64>,
        presence: &Presence,
        access: &mut Access<'_, S>,
    ) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        let released = self.give_back(hold, presence, access);
        if released.is_err() {
            self.owed.push(hold);
        }
        let in_flight = *released.as_ref().unwrap_or(&0);
        if let (Limit::Adaptive(bounds), Some(latency)) = (self.limit, latency) {
            let sample = Sample { count: 1, sum: latency, peak: in_flight.saturating_add(1) };
            self.measure(hold.slot, bounds, sample, access)?;
        }
        released.map(|_| ())
    }

    /// Tells the store what it has not been told.
    pub(crate) fn settle<S>(
        &mut self,
        all: bool,
        presence: &Presence,
        access: &mut Access<'_, S>,
    ) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        while let Some(hold) = self.owed.last().copied() {
            self.give_back(hold, presence, access)?;
            self.owed.pop();
        }
        let due = all || access.now.abs_diff(self.found.asked) >= PACE;
        if let (Limit::Adaptive(bounds), true, true) = (self.limit, due, self.found.pending.count > 0) {
            self.refresh(bounds, access)?;
        }
        Ok(())
    }

    /// Says how many are still in flight.
    fn give_back<S>(
        &mut self,
        hold: Hold,
        presence: &Presence,
        access: &mut Access<'_, S>,
    ) -> Result<u32, StoreError>
    where
        S: Store + ?Sized,
    {
        let Hold { slot, owner } = hold;
        for _ in 0..ATTEMPTS {
            let count = self.read(slot, presence, access)?;
            self.change(slot, owner, -1, presence, access)?;
            match self.table.write(slot, self.version, access) {
                Ok(()) => return Ok(count.saturating_sub(1)),
                Err(CasError::Conflict) => {}
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }

    /// Writes the record that was read, with an owner's count changed and without those of the dead, into the common buffer. An error if it has no place for that.
    fn change<S: ?Sized>(
        &self,
        slot: Slot,
        owner: Owner,
        by: i32,
        presence: &Presence,
        access: &mut Access<'_, S>,
    ) -> Result<(), StoreError> {
        let keyed = self.table.is_keyed();
        let bytes = &mut *access.bytes;
        bytes.clear();
        let mut open = Some(by);
        for mut place in places(&self.record, keyed) {
            if presence.is_gone(place.owner) {
                continue;
            }
            if place.fingerprint == slot.fingerprint
                && place.owner == owner
                && let Some(by) = open.take()
            {
                place.count = place.count.saturating_add_signed(by);
            }
            place.encode(keyed, bytes);
        }
        // Nothing is counted under a name that has no place: the VM was taken for gone.
        if let Some(by @ 1..) = open {
            let count = by.unsigned_abs();
            Place { fingerprint: slot.fingerprint, owner, count }.encode(keyed, bytes);
        }
        if bytes.len() > MAX_RECORD { Err(StoreError) } else { Ok(()) }
    }

    /// The limit of a key as of some milliseconds ago.
    fn limit_of<S>(
        &mut self,
        slot: Slot,
        bounds: Bounds,
        access: &mut Access<'_, S>,
    ) -> Result<u32, StoreError>
    where
        S: Store + ?Sized,
    {
        self.turn_to(slot, bounds, access)?;
        if self.found.limit == 0 || access.now.abs_diff(self.found.asked) >= PACE {
            self.refresh(bounds, access)?;
        }
        Ok(self.found.limit)
    }

    fn measure<S>(
        &mut self,
        slot: Slot,
        bounds: Bounds,
        sample: Sample,
        access: &mut Access<'_, S>,
    ) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        self.turn_to(slot, bounds, access)?;
        self.found.pending.add(sample);
        let due = access.now.abs_diff(self.found.asked) >= PACE;
        if due { self.refresh(bounds, access) } else { Ok(()) }
    }

    /// Forgets another key's limit, after telling what was measured for it.
    fn turn_to<S>(&mut self, slot: Slot, bounds: Bounds, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        if self.found.slot != slot {
            if self.found.pending.count > 0 {
                self.refresh(bounds, access)?;
            }
            self.found = Found { slot, ..Found::default() };
        }
        Ok(())
    }

    /// Tells the store what was measured and reads the limit.
    fn refresh<S>(&mut self, bounds: Bounds, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        let Found { slot, pending, .. } = self.found;
        // The keys' own tables differ in size.
        let place =
            if self.estimates.is_keyed() { Slot { record: slot.record % ESTIMATES, ..slot } } else { slot };
        for _ in 0..ATTEMPTS {
            let version = self.estimates.read(place, access)?;
            let mut keys = decode(access.bytes);
            let found = keys.iter().position(|(fingerprint, _)| *fingerprint == slot.fingerprint);
            // The key that was measured longest ago is forgotten for a new one.
            let oldest =
                || (0..WAYS).min_by_key(|index| keys.get(*index).map(|(_, estimate)| estimate.age_key()));
            let index = found.or_else(oldest).unwrap_or(0);
            let Some(key) = keys.get_mut(index) else { return Err(StoreError) };
            if found.is_none() {
                *key = (slot.fingerprint, Estimate::new(bounds, access.now));
            }
            if pending.count > 0 {
                key.1.observe(bounds, pending, access.now);
            }
            let limit = key.1.limit(bounds);
            if pending.count > 0 || found.is_none() {
                access.bytes.clear();
                for (fingerprint, estimate) in keys.iter().filter(|(fingerprint, _)| *fingerprint != 0) {
                    access.bytes.extend_from_slice(&fingerprint.to_le_bytes());
                    estimate.encode(access.bytes);
                }
                match self.estimates.write(place, version, access) {
                    Ok(()) => {}
                    Err(CasError::Conflict) => continue,
                    Err(CasError::Failed(error)) => return Err(error),
                }
            }
            self.found = Found { slot, limit, asked: access.now, pending: Sample::default() };
            return Ok(());
        }
        Err(StoreError)
    }
}

fn decode(bytes: &[u8]) -> [(u64, Estimate); WAYS] {
    let mut keys = [(0, Estimate::new(Bounds { min: 1, max: 1 }, 0)); WAYS];
    let mut reader = Reader::new(bytes);
    for key in &mut keys {
        let (Some(fingerprint), Some(estimate)) = (reader.u64(), Estimate::decode(&mut reader)) else {
            break;
        };
        *key = (fingerprint, estimate);
    }
    keys
}

/// One VM's requests of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    fingerprint: u64,
    owner: Owner,
    count: u32,
}

impl Place {
    /// In a rule without key all fingerprints are the same and not written. Nothing is written of a place that counts nothing.
    fn encode(self, keyed: bool, bytes: &mut Vec<u8>) {
        let Self { fingerprint, owner, count } = self;
        if count == 0 {
            return;
        }
        if keyed {
            bytes.extend_from_slice(&fingerprint.to_le_bytes());
        }
        bytes.extend_from_slice(&owner.to_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
    }
}

fn places(record: &[u8], keyed: bool) -> impl Iterator<Item = Place> + '_ {
    let mut reader = Reader::new(record);
    std::iter::from_fn(move || {
        let fingerprint = if keyed { reader.u64()? } else { crate::table::ONLY.fingerprint };
        let owner: [u8; Owner::LENGTH] = reader.take()?;
        Some(Place { fingerprint, owner: Owner::from_bytes(owner), count: reader.u32()? })
    })
}

#[cfg(test)]
mod tests;
