//! Which VMs of this proxy are alive: whoever counts requests in flight must one day stop counting those of a VM that is no more.
//!
//! A VM that counts takes a *seat* in one shared record and changes a number there twice a second, its heartbeat. The others watch: one whose number has not
//! changed in ten looks, five seconds of the observer's own life, is gone, and the observer gives its seat the next *life*. Looks are counted, not
//! time: after the whole process was stopped for a while everybody is late and nobody is gone. A VM that was only stalled finds its seat taken and sits down anew; what it
//! had in flight until then is no longer counted.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use crate::record::Reader;
use crate::store::{CasError, Store, StoreError};
use crate::table::ATTEMPTS;

const KEY: &[u8] = b"spillway/1/vms";

/// Between two heartbeats.
const BEAT: u64 = 500_000_000;

/// After so many looks without a heartbeat a VM is gone.
const LOOKS: u8 = 10;

/// More VMs than the workers of any machine this runs on; the record stays under 1 KiB.
const SEATS: usize = 160;

/// One VM's time in one seat. Every number is used once in 65,536 lives of the seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Owner {
    seat: u8,
    life: u16,
}

impl Owner {
    pub(crate) const LENGTH: usize = 3;

    pub(crate) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let [low, high] = self.life.to_le_bytes();
        [self.seat, low, high]
    }

    pub(crate) fn from_bytes([seat, low, high]: [u8; Self::LENGTH]) -> Self {
        Self { seat, life: u16::from_le_bytes([low, high]) }
    }
}

/// A seat as it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seat {
    life: u16,
    /// 0: nobody sits here.
    beat: u32,
}

/// A seat as this VM has seen it.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    seat: Seat,
    /// How often it has been the same.
    unchanged: u8,
}

/// This VM's seat and what it knows of the others.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    me: Option<Owner>,
    /// When this VM looked last.
    looked: Option<u64>,
    seen: Vec<Seen>,
    bytes: Vec<u8>,
}

/// One VM's presence, shared by all its engines, of which one works at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfVm(Rc<RefCell<Presence>>);

impl OfVm {
    pub(crate) fn borrow(&self) -> RefMut<'_, Presence> {
        self.0.borrow_mut()
    }
}

impl Presence {
    /// This VM's seat; it sits down if it has none. An error if no seat is free or the store does not answer.
    pub(crate) fn owner<S: Store + ?Sized>(&mut self, store: &mut S) -> Result<Owner, StoreError> {
        if let Some(me) = self.me {
            return Ok(me);
        }
        for _ in 0..ATTEMPTS {
            let version = store.read(KEY, &mut self.bytes)?;
            let mut seats = decode(&self.bytes);
            let free = seats.iter().position(|seat| seat.beat == 0).unwrap_or(seats.len());
            if free >= SEATS {
                return Err(StoreError);
            }
            if free == seats.len() {
                seats.push(Seat::default());
            }
            let (Some(seat), Ok(number)) = (seats.get_mut(free), u8::try_from(free)) else {
                return Err(StoreError);
            };
            seat.beat = 1;
            let owner = Owner { seat: number, life: seat.life };
            encode(&seats, &mut self.bytes);
            match store.compare_and_set(KEY, &self.bytes, version) {
                Ok(()) => {
                    self.me = Some(owner);
                    return Ok(owner);
                }
                Err(CasError::Conflict) => {}
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }

    /// This VM's seat, if it has one.
    pub(crate) const fn me(&self) -> Option<Owner> {
        self.me
    }

    /// Whether a VM is known to be gone. One that is gone is never back under the same name.
    pub(crate) fn is_gone(&self, owner: Owner) -> bool {
        let seen = self.seen.get(usize::from(owner.seat));
        // Lives are compared around their wrap; a life that this VM has not seen yet is somebody new.
        seen.is_some_and(|seen| (1..0x8000).contains(&seen.seat.life.wrapping_sub(owner.life)))
    }

    /// Gives this VM's heartbeat and looks at the others', if it is time. Does nothing in a VM without a seat.
    pub(crate) fn tick<S: Store + ?Sized>(&mut self, store: &mut S, now: u64) -> Result<(), StoreError> {
        let Some(me) = self.me else { return Ok(()) };
        if self.looked.is_some_and(|looked| now >= looked && now - looked < BEAT) {
            return Ok(());
        }
        self.looked = Some(now);
        let mut counted = false;
        for _ in 0..ATTEMPTS {
            let version = store.read(KEY, &mut self.bytes)?;
            let mut seats = decode(&self.bytes);
            // One look counts once, however often its write is tried.
            self.look(&seats, !counted);
            counted = true;
            for (seat, seen) in seats.iter_mut().zip(&self.seen) {
                if seat.beat != 0 && seen.unchanged >= LOOKS {
                    *seat = Seat { life: seat.life.wrapping_add(1), beat: 0 };
                }
            }
            match seats.get_mut(usize::from(me.seat)) {
                Some(seat) if seat.life == me.life && seat.beat != 0 => {
                    seat.beat = seat.beat.wrapping_add(1).max(1);
                }
                _ => self.me = None,
            }
            encode(&seats, &mut self.bytes);
            match store.compare_and_set(KEY, &self.bytes, version) {
                Ok(()) => {
                    self.look(&seats, false);
                    return Ok(());
                }
                Err(CasError::Conflict) => {}
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }

    fn look(&mut self, seats: &[Seat], count: bool) {
        self.seen.resize(seats.len(), Seen::default());
        let me = self.me.map(|me| usize::from(me.seat));
        for (number, (seen, seat)) in self.seen.iter_mut().zip(seats).enumerate() {
            let silent = seen.seat == *seat && seat.beat != 0 && me != Some(number);
            let unchanged = if silent { seen.unchanged.saturating_add(u8::from(count)) } else { 0 };
            *seen = Seen { seat: *seat, unchanged };
        }
    }
}

fn decode(bytes: &[u8]) -> Vec<Seat> {
    let mut reader = Reader::new(bytes);
    let mut seats = Vec::new();
    while seats.len() < SEATS
        && let (Some(life), Some(beat)) = (reader.take().map(u16::from_le_bytes), reader.u32())
    {
        seats.push(Seat { life, beat });
    }
    seats
}

fn encode(seats: &[Seat], bytes: &mut Vec<u8>) {
    bytes.clear();
    for Seat { life, beat } in seats {
        bytes.extend_from_slice(&life.to_le_bytes());
        bytes.extend_from_slice(&beat.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
