//! Where a limit's tokens come from: buckets in the store, and this worker's leases on them.

use super::buckets::{Buckets, Terms, WAYS};
use super::{Claim, Empty, From};
use crate::quota::{Level, Quota};
use crate::remembered::Remembered;
use crate::store::{CasError, Store, StoreError, Version};
use crate::table::{ATTEMPTS, Access, Slot, Table};

/// Unused leased tokens are not spent after so long; they go back to the bucket.
const LEASE_LIFE: u64 = 10_000_000;

/// A key takes a lease where this worker has seen it so long ago at most.
const HOT: u64 = 20_000_000;

/// A bucket that was found empty is not looked at again for so long, unless enough flows in before: whatever others put back or edit in the meantime is seen that much later.
const EMPTY: u64 = 50_000_000;

/// A table of buckets, or a single one.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) quota: Quota,
    revision: u64,
    pub(super) table: Table,
    /// What this worker holds; `None` where every request takes from the store.
    leases: Option<Remembered<Lease>>,
    /// Buckets that did not have enough.
    empty: Remembered<Seen>,
}

/// A bucket as it was when somebody was refused, with what this worker had leased of it: it holds at most that and what has flowed in since, but for what other workers put back.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    quota: Option<Quota>,
    level: Level,
    at: u64,
}

impl Seen {
    const fn is_fresh(&self, now: u64) -> bool {
        self.quota.is_some() && now.abs_diff(self.at) < EMPTY
    }
}

/// What was read of the store.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) buckets: Option<Buckets>,
    version: Option<Version>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Lease {
    tokens: u32,
    expires: u64,
    /// When the store was last asked for tokens.
    asked: u64,
}

impl Lease {
    const fn is_valid(&self, now: u64) -> bool {
        // A lease from further ahead than a lease lives was taken by a clock that has been set back since.
        self.tokens > 0 && now < self.expires && self.expires - now <= LEASE_LIFE
    }

    const fn is_hot(&self, now: u64) -> bool {
        now.abs_diff(self.asked) < HOT
    }
}

impl Source {
    /// Without leases where `exact`ness is asked for, or where one would be a single token.
    pub(super) fn new(quota: Quota, revision: u64, table: Table, leases: bool) -> Self {
        let leases = (leases && quota.lease() > 1).then(|| Remembered::new(table.is_keyed()));
        let empty = Remembered::new(table.is_keyed());
        Self { quota, revision, table, leases, empty }
    }

    fn ways(&self) -> usize {
        if self.table.is_keyed() { WAYS } else { 1 }
    }

    fn lease(&self, slot: Slot) -> Option<&Lease> {
        self.leases.as_ref()?.get(slot)
    }

    fn lease_mut(&mut self, slot: Slot) -> Option<&mut Lease> {
        self.leases.as_mut()?.get_mut(slot)
    }

    fn read<S>(
        &mut self,
        slot: Slot,
        looked: &mut Looked,
        access: &mut Access<'_, S>,
    ) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        looked.version = self.table.read(slot, access)?;
        let terms = Terms { quota: self.quota, revision: self.revision, since: access.since };
        let buckets = looked.buckets.insert(Buckets::read(access.bytes, terms, access.now, self.ways()));
        // What this worker holds and may not spend any more belongs to the bucket.
        let (quota, unspent) = (buckets.quota(), self.lease(slot).map_or(0, |lease| lease.tokens));
        if let Some(level) = buckets.known(slot.fingerprint) {
            *level = level.give(unspent, quota);
        }
        Ok(())
    }

    /// Whether there are so many tokens, here or in the store.
    pub(super) fn claim<S>(
        &mut self,
        limit: u32,
        slot: Slot,
        cost: u32,
        looked: &mut Looked,
        access: &mut Access<'_, S>,
    ) -> Result<Result<From, Empty>, StoreError>
    where
        S: Store + ?Sized,
    {
        if self.lease(slot).is_some_and(|lease| lease.is_valid(access.now) && lease.tokens >= cost) {
            return Ok(Ok(From::Lease));
        }
        self.look(limit, slot, cost, looked, access)
    }

    /// The same where this worker's lease does not suffice. Apart, so that the common case stays small.
    #[inline(never)]
    fn look<S>(
        &mut self,
        limit: u32,
        slot: Slot,
        cost: u32,
        looked: &mut Looked,
        access: &mut Access<'_, S>,
    ) -> Result<Result<From, Empty>, StoreError>
    where
        S: Store + ?Sized,
    {
        if let Some(empty) = self.still_empty(limit, slot, cost, access.now) {
            return Ok(Err(empty));
        }
        self.read(slot, looked, access)?;
        let buckets = looked.buckets.as_mut().ok_or(StoreError)?;
        let (quota, level) = (buckets.quota(), *buckets.bucket(slot.fingerprint));
        if level.take(cost).is_some() {
            return Ok(Ok(From::Record));
        }
        // Places of buckets that may have filled up since are for the taking; one that is still empty makes way only where there is no more room, and is looked at again then.
        self.empty.in_the_way(slot, |seen| seen.is_fresh(access.now));
        self.empty.put(slot, Seen { quota: Some(quota), level, at: access.now });
        Ok(Err(Empty::of(limit, quota, level, cost)))
    }

    /// Whether a bucket that was empty a moment ago must still be, whoever else asks for its tokens.
    fn still_empty(&self, limit: u32, slot: Slot, cost: u32, now: u64) -> Option<Empty> {
        let seen = self.empty.get(slot).filter(|seen| seen.is_fresh(now))?;
        let quota = seen.quota?;
        let level = quota.refill(seen.level, now.saturating_sub(seen.at));
        level.take(cost).is_none().then(|| Empty::of(limit, quota, level, cost))
    }

    /// Takes what was claimed.
    pub(super) fn take<S>(
        &mut self,
        claim: &mut Claim,
        looked: &mut Looked,
        access: &mut Access<'_, S>,
    ) -> Result<Result<(), Empty>, StoreError>
    where
        S: Store + ?Sized,
    {
        if claim.from == From::Lease {
            if let Some(lease) = self.lease_mut(claim.slot) {
                lease.tokens = lease.tokens.saturating_sub(claim.cost);
                claim.taken = true;
            }
            return Ok(Ok(()));
        }
        self.take_from_store(claim, looked, access)
    }

    #[inline(never)]
    fn take_from_store<S>(
        &mut self,
        claim: &mut Claim,
        looked: &mut Looked,
        access: &mut Access<'_, S>,
    ) -> Result<Result<(), Empty>, StoreError>
    where
        S: Store + ?Sized,
    {
        let Claim { limit, slot, cost, .. } = *claim;
        let may_lease = self.may_lease(slot, access.now);
        for _ in 0..ATTEMPTS {
            let Looked { buckets: Some(buckets), version } = looked else { return Err(StoreError) };
            let quota = buckets.quota();
            let level = buckets.bucket(slot.fingerprint);
            let lease = if may_lease { quota.lease() } else { 0 };
            let tokens = lease.min(level.whole()).max(cost);
            let Some(rest) = level.take(tokens) else {
                return Ok(Err(Empty::of(limit, quota, *level, cost)));
            };
            *level = rest;
            buckets.encode(access.bytes);
            match self.table.write(slot, *version, access) {
                Ok(()) => {
                    self.hold(slot, tokens.saturating_sub(cost), access.now);
                    claim.taken = true;
                    return Ok(Ok(()));
                }
                Err(CasError::Conflict) => self.read(slot, looked, access)?,
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }

    /// Whether there is a place for a lease of this key, and it comes often enough. Nobody's lease makes way for another's.
    fn may_lease(&mut self, slot: Slot, now: u64) -> bool {
        let keyed = self.table.is_keyed();
        let Some(leases) = &mut self.leases else { return false };
        let matters = |lease: &Lease| lease.tokens > 0 || lease.is_hot(now);
        if leases.in_the_way(slot, matters).is_some() {
            return false;
        }
        let is_hot = leases.get(slot).is_some_and(|lease| lease.is_hot(now));
        if leases.get(slot).is_none() {
            leases.put(slot, Lease::default());
        }
        is_hot || !keyed
    }

    /// Keeps tokens that have left the bucket, instead of those that went back to it.
    fn hold(&mut self, slot: Slot, tokens: u32, now: u64) {
        if let Some(lease) = self.lease_mut(slot) {
            *lease = Lease { tokens, expires: now.saturating_add(LEASE_LIFE), asked: now };
        }
    }

    /// Undoes [`Source::take`].
    pub(super) fn give_back<S>(&mut self, claim: &Claim, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        if !claim.taken {
            return Ok(());
        }
        let now = access.now;
        if let Some(lease) = self.lease_mut(claim.slot).filter(|lease| lease.is_valid(now)) {
            lease.tokens = lease.tokens.saturating_add(claim.cost);
            return Ok(());
        }
        self.deposit(claim.slot, claim.cost, access)
    }

    /// Brings leased tokens back to their buckets: those that have expired, or all.
    pub(super) fn return_leases<S>(&mut self, all: bool, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        let mut result = Ok(());
        for index in 0..self.leases.as_ref().map_or(0, Remembered::len) {
            let lease = self.leases.as_ref().and_then(|leases| leases.at(index));
            if let Some((slot, lease)) = lease
                && lease.tokens > 0
                && (all || !lease.is_valid(access.now))
            {
                result = result.and(self.deposit(slot, 0, access));
            }
        }
        result
    }

    /// Puts tokens into a bucket, and with them what is left of the lease. Where the store does not answer, the lease stays for the next time.
    fn deposit<S>(&mut self, slot: Slot, tokens: u32, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        let mut looked = Looked::default();
        for _ in 0..ATTEMPTS {
            self.read(slot, &mut looked, access)?;
            let Looked { buckets: Some(buckets), version } = &mut looked else { return Err(StoreError) };
            let quota = buckets.quota();
            // A key that has lost its place has taken its tokens with it.
            let written = match buckets.known(slot.fingerprint) {
                Some(level) => {
                    *level = level.give(tokens, quota);
                    buckets.encode(access.bytes);
                    self.table.write(slot, *version, access)
                }
                None => Ok(()),
            };
            match written {
                Ok(()) => {
                    if let Some(lease) = self.lease_mut(slot) {
                        lease.tokens = 0;
                    }
                    return Ok(());
                }
                Err(CasError::Conflict) => {}
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }
}
