//! Concurrency limits: so many requests of a key in flight at once, over all workers of a proxy.
//!
//! Each worker counts its own requests in the shared record of the key, under the name of its VM ([`Presence`]). What is in flight is the sum of the counts of the VMs that are
//! alive. So a VM that breaks down takes its counts with it, some five seconds later, and no count can leak: a request is counted before it passes and no more as
//! soon as its end is known, however it ended; where the store does not answer at the end, it is told later.
//!
//! A place that becomes free stays with the worker that had it, for its next request, as long as a sixteenth of the room that it last saw is not used up by that; what it had no use
//! for goes back with its next tick. So a worker whose number in flight goes up and down asks the store for nothing but its peaks. There are never more in flight than the limit. A request may
//! be turned away while other workers keep places that they do not use: at most a sixteenth of what is free for each of them, none where less than sixteen are free, and not for longer
//! than two ticks.
//!
//! The limit is fixed (a bulkhead), or found from latency (`adaptive`), by key.
//!
//! Keys with nothing in flight need no place, so the table is for what is in flight at one moment: some 65,536 keys with one worker. A key that finds no place in its record is not
//! counted, and passes or not as the rule's `onFailure` says.

mod found;
mod place;
mod room;
mod spare;
mod usage;

use std::num::NonZeroU32;
use std::rc::Rc;

use self::found::Found;
use self::place::{Place, places};
use self::room::{Limits, share};
use self::spare::Spare;
use self::usage::Usage;
use crate::adaptive::{Bounds, Sample};
use crate::config;
use crate::engine::Needs;
use crate::presence::{Owner, Presence};
use crate::reaction::Reaction;
use crate::remembered::Remembered;
use crate::route_key::RuleKey;
use crate::store::{CasError, Store, StoreError, Version};
use crate::table::{ATTEMPTS, Access, Slot, Table};

pub(crate) use self::room::{Full, Hold, Room};
pub(crate) use self::usage::Use;

/// Records in the table of a rule with key, of [`MAX_RECORD`] bytes each at the most: 8 MB, if all of them were full at some time.
const RECORDS: u16 = 8_192;

/// The bytes of a record.
const MAX_RECORD: usize = 960;

/// How a rule limits.
#[derive(Debug)]
enum Limit {
    Fixed(u32),
    Adaptive(Found),
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
    spares: Remembered<Spare>,
    usage: Usage,
    /// The record that was looked at last, from look to take.
    record: Vec<u8>,
    version: Option<Version>,
    /// Ends that the store has not been told.
    owed: Vec<Hold>,
    /// Its engine is about to go: it keeps nothing any more.
    is_retired: bool,
}

impl Bulkhead {
    pub(crate) fn new(
        policy: Rc<str>,
        rule: config::Concurrency,
        degrading: Option<u32>,
        needs: &mut Needs,
    ) -> Self {
        let config::Concurrency { name, key, max, adaptive, mode, on_failure, response } = rule;
        needs.latency |= adaptive.is_some();
        let key = RuleKey::compile(&key, needs);
        let keyed = !key.is_empty();
        let limit = match adaptive {
            Some(config::Adaptive { min, max }) => {
                let bounds = Bounds { min: min.get(), max: max.get() };
                Limit::Adaptive(Found::new(bounds, &policy, &name, keyed))
            }
            None => Limit::Fixed(max.map_or(u32::MAX, NonZeroU32::get)),
        };
        let table = Table::new("flight", &policy, &name, keyed.then_some(RECORDS));
        let usage = Usage::new(&policy, &name, keyed);
        Self {
            policy,
            rule: Rc::from(name.as_str()),
            key,
            reaction: Reaction::new(mode, on_failure, response),
            degrading,
            limit,
            table,
            spares: Remembered::new(keyed),
            usage,
            record: Vec::new(),
            version: None,
            owed: Vec::new(),
            is_retired: false,
        }
    }

    pub(crate) const fn table(&self) -> &Table {
        &self.table
    }

    /// Everything that this rule keeps in the store.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        let found = match &self.limit {
            Limit::Adaptive(found) => Some(found.table()),
            Limit::Fixed(_) => None,
        };
        [&self.table, self.usage.table()].into_iter().chain(found)
    }

    /// What is in use of the rule, for those who watch it.
    pub(crate) fn usage<S>(
        &mut self,
        presence: &mut Presence,
        access: &mut Access<'_, S>,
    ) -> Result<Use, StoreError>
    where
        S: Store + ?Sized,
    {
        let used = self.usage.take(presence, access)?;
        let limit = match &self.limit {
            Limit::Fixed(limit) => *limit,
            Limit::Adaptive(found) => found.within(used.limit),
        };
        // With one limit it is known what is in use, also while nobody comes.
        let share = if self.table.is_keyed() { 0 } else { share(used.in_flight, limit) };
        Ok(Use { limit, share: used.share.max(share), ..used })
    }

    /// Takes note of what a request has found.
    pub(crate) fn found(&mut self, room: &Room) {
        self.usage.found(room);
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
        let limit = match &mut self.limit {
            Limit::Fixed(limit) => Limits { now: *limit, whole: *limit },
            Limit::Adaptive(found) => found.limit(slot, access)?,
        };
        let owner = presence.owner(access.store)?;
        let room = |in_flight: u32| Room { slot, limit, owner, count: in_flight.saturating_add(1) };
        if let Some(spare) = self.spare(slot, owner).filter(|spare| spare.count > 0) {
            let room = room(spare.in_flight());
            if !room.is_full() {
                return Ok(Ok(room));
            }
        }
        let total = self.read(slot, presence, access)?;
        let room = room(total.saturating_sub(self.spare(slot, owner).map_or(0, |spare| spare.count)));
        Ok(if room.is_full() { Err((Full, room)) } else { Ok(room) })
    }

    fn spare(&mut self, slot: Slot, owner: Owner) -> Option<&mut Spare> {
        self.spares.get_mut(slot).filter(|spare| spare.owner == owner)
    }

    /// Reads the record into the rule's own buffer: what is in flight, and what workers keep.
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
        let total = places.filter(counted).fold(0, |sum: u32, place| place.count.saturating_add(sum));
        if let Some(spare) = self.spares.get_mut(slot) {
            spare.total = total;
        }
        Ok(total)
    }

    /// Takes the room that was found, or what is left of it if others were faster.
    pub(crate) fn take<S>(
        &mut self,
        mut room: Room,
        presence: &Presence,
        access: &mut Access<'_, S>,
    ) -> Result<Result<Hold, Full>, StoreError>
    where
        S: Store + ?Sized,
    {
        let Room { slot, owner, .. } = room;
        if let Some(spare) = self.spare(slot, owner).filter(|spare| spare.count > 0) {
            spare.count -= 1;
            spare.least = spare.least.min(spare.count);
            self.usage.begin();
            return Ok(Ok(Hold { slot, owner }));
        }
        for _ in 0..ATTEMPTS {
            if room.is_full() {
                return Ok(Err(Full));
            }
            self.change(slot, owner, 1, presence, access)?;
            match self.table.write(slot, self.version, access) {
                Ok(()) => {
                    self.usage.begin();
                    if self.spares.in_the_way(slot, |spare| spare.count > 0).is_none() {
                        self.spares.put(slot, Spare { owner, total: room.count, ..Spare::default() });
                    }
                    return Ok(Ok(Hold { slot, owner }));
                }
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
        self.usage.end();
        let released = match self.keep(hold, presence) {
            Some(in_flight) => Ok(in_flight),
            None => self.give_back(hold, presence, access),
        };
        if released.is_err() {
            self.owed.push(hold);
        }
        if let (Limit::Adaptive(found), Some(latency)) = (&mut self.limit, latency) {
            let in_flight = *released.as_ref().unwrap_or(&0);
            let sample = Sample { count: 1, sum: latency, peak: in_flight.saturating_add(1) };
            found.measure(hold.slot, sample, access)?;
        }
        released.map(|_| ())
    }

    /// Keeps a place for the next request, if that leaves enough to others: how many are still in flight.
    fn keep(&mut self, Hold { slot, owner }: Hold, presence: &Presence) -> Option<u32> {
        let limit = match &self.limit {
            Limit::Fixed(limit) => *limit,
            Limit::Adaptive(found) => found.known(slot)?,
        };
        // What was counted for a VM that was taken for gone is counted no more.
        if self.is_retired || presence.me() != Some(owner) {
            return None;
        }
        let spare = self.spare(slot, owner)?;
        if spare.count >= spare.allowed(limit) {
            return None;
        }
        spare.count += 1;
        Some(spare.in_flight())
    }

    /// Tells the store what it has not been told, and gives back what was not needed since the last time, or everything.
    pub(crate) fn settle<S>(
        &mut self,
        all: bool,
        presence: &Presence,
        access: &mut Access<'_, S>,
    ) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        self.is_retired |= all;
        while let Some(hold) = self.owed.last().copied() {
            self.give_back(hold, presence, access)?;
            self.owed.pop();
        }
        for index in 0..self.spares.len() {
            if let Some((slot, spare)) = self.spares.at(index).filter(|(_, spare)| spare.count > 0) {
                self.return_spare(slot, spare, presence, access)?;
            }
        }
        match &mut self.limit {
            Limit::Adaptive(found) => found.settle(all, access),
            Limit::Fixed(_) => Ok(()),
        }
    }

    fn return_spare<S>(
        &mut self,
        slot: Slot,
        spare: Spare,
        presence: &Presence,
        access: &mut Access<'_, S>,
    ) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        if presence.me() != Some(spare.owner) {
            self.spares.put(slot, Spare::default());
            return Ok(());
        }
        let limit = match &self.limit {
            _ if self.is_retired => 0,
            Limit::Fixed(limit) => *limit,
            Limit::Adaptive(found) => found.known(slot).unwrap_or(0),
        };
        for _ in 0..ATTEMPTS {
            let total = self.read(slot, presence, access)?;
            let allowed = Spare { total, ..spare }.allowed(limit);
            let back = spare.least.max(spare.count.saturating_sub(allowed)).min(spare.count);
            if back > 0 {
                let by = i32::try_from(back).map_or(i32::MIN, |back| -back);
                self.change(slot, spare.owner, by, presence, access)?;
                match self.table.write(slot, self.version, access) {
                    Ok(()) => {}
                    Err(CasError::Conflict) => continue,
                    Err(CasError::Failed(error)) => return Err(error),
                }
            }
            let count = spare.count - back;
            self.spares.put(slot, Spare { count, least: count, total: total.saturating_sub(back), ..spare });
            return Ok(());
        }
        Err(StoreError)
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
            let total = self.read(slot, presence, access)?.saturating_sub(1);
            self.change(slot, owner, -1, presence, access)?;
            match self.table.write(slot, self.version, access) {
                Ok(()) => {
                    let Some(spare) = self.spares.get_mut(slot) else { return Ok(total) };
                    spare.total = total;
                    return Ok(spare.in_flight());
                }
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
}

#[cfg(test)]
mod tests;
