//! Rate limits: token buckets that all workers of a proxy share.
//!
//! A request passes only if every limit that applies has a token for it, and then takes one from each; if one has none, no limit loses any.
//! So there are two steps: [`RateLimit::claim`] looks at each bucket without taking, [`RateLimit::take`] takes from it.
//!
//! Where the rate is high, a worker takes tokens of a bucket without key in *leases* and spends them without asking the store. Leased tokens have left the
//! shared bucket, which may fill up behind them: over any time `t`, `workers` workers admit at most `burst + rate * t + workers * lease` requests, where a lease
//! is five milliseconds' worth of tokens and never more than a hundredth of the burst (0 where that is less than two tokens). Buckets with a key
//! and slow ones have no leases and are exact.

mod buckets;

use std::rc::Rc;

use self::buckets::{Buckets, Terms, WAYS};
use crate::config;
use crate::engine::Needs;
use crate::quota::Quota;
use crate::route_key::RuleKey;
use crate::store::{CasError, Store, StoreError, Version};
use crate::table::{ATTEMPTS, Access, ONLY, Slot, Table};

/// Records in the table of a limit with key: 8,192 of eight places hold 65,536 keys in about 1.5 MB.
const RECORDS: u16 = 8_192;

/// Unused leased tokens are not spent after so long; they go back to the bucket.
const LEASE_LIFE: u64 = 10_000_000;

/// A compiled rate limit and what this worker holds of it.
#[derive(Debug)]
pub(crate) struct RateLimit {
    pub(crate) policy: Rc<str>,
    pub(crate) rule: Rc<str>,
    pub(crate) key: RuleKey,
    quota: Quota,
    revision: u64,
    table: Table,
    lease: Lease,
}

#[derive(Debug, Default)]
struct Lease {
    tokens: u32,
    expires: u64,
}

impl Lease {
    const fn is_valid(&self, now: u64) -> bool {
        // A lease from further ahead than a lease lives was taken by a clock that has been set back since.
        self.tokens > 0 && now < self.expires && self.expires - now <= LEASE_LIFE
    }
}

/// What the buckets of a limit look like to one request.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Which of the engine's limits.
    pub(crate) limit: u32,
    slot: Slot,
    from: From,
    taken: bool,
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "claims are kept in a buffer that is used again; a box would allocate for each request"
)]
enum From {
    /// This worker's lease.
    Lease,
    /// The record, as it was read.
    Record(Buckets, Option<Version>),
}

/// There is no token, and there will be none for so many nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Empty {
    pub(crate) wait: u64,
}

impl RateLimit {
    pub(crate) fn new(policy: Rc<str>, rule: config::RateLimit, revision: u64, needs: &mut Needs) -> Self {
        // The fields that nothing acts on yet refuse every value.
        let config::RateLimit {
            name,
            key,
            rate,
            burst,
            when: None,
            cost: None,
            scope: None,
            overrides: None,
            mode: None,
            on_failure: None,
            response: None,
            rate_limit_headers: None,
        } = rule;
        let key = RuleKey::compile(&key, needs);
        let table = Table::new("limit", &policy, &name, (!key.is_empty()).then_some(RECORDS));
        Self {
            policy,
            rule: Rc::from(name.as_str()),
            key,
            quota: Quota::new(rate, burst),
            revision,
            table,
            lease: Lease::default(),
        }
    }

    pub(crate) const fn table(&self) -> &Table {
        &self.table
    }

    fn ways(&self) -> usize {
        if self.table.is_keyed() { WAYS } else { 1 }
    }

    fn read<S>(
        &mut self,
        slot: Slot,
        access: &mut Access<'_, S>,
    ) -> Result<(Buckets, Option<Version>), StoreError>
    where
        S: Store + ?Sized,
    {
        let version = self.table.read(slot, access)?;
        let terms = Terms { quota: self.quota, revision: self.revision, since: access.since };
        let mut buckets = Buckets::read(access.bytes, terms, access.now, self.ways());
        // What this worker holds and may not spend any more belongs to the bucket.
        let (quota, unspent) = (buckets.quota(), self.lease.tokens);
        if let Some(level) = buckets.known(slot.fingerprint) {
            *level = level.give(unspent, quota);
        }
        Ok((buckets, version))
    }

    /// Whether there is a token for a request. Takes nothing.
    pub(crate) fn claim<S>(
        &mut self,
        limit: u32,
        slot: Slot,
        access: &mut Access<'_, S>,
    ) -> Result<Result<Claim, Empty>, StoreError>
    where
        S: Store + ?Sized,
    {
        let claim = |from| Claim { limit, slot, from, taken: false };
        if self.lease.is_valid(access.now) {
            return Ok(Ok(claim(From::Lease)));
        }
        let (mut buckets, version) = self.read(slot, access)?;
        let (quota, level) = (buckets.quota(), *buckets.bucket(slot.fingerprint));
        Ok(match level.take(1) {
            Some(_) => Ok(claim(From::Record(buckets, version))),
            None => Err(Empty { wait: quota.wait(level) }),
        })
    }

    /// Takes the token that was claimed, or another one if somebody else has it.
    pub(crate) fn take<S>(
        &mut self,
        claim: &mut Claim,
        access: &mut Access<'_, S>,
    ) -> Result<Result<(), Empty>, StoreError>
    where
        S: Store + ?Sized,
    {
        let From::Record(buckets, version) = &mut claim.from else {
            self.lease.tokens = self.lease.tokens.saturating_sub(1);
            claim.taken = true;
            return Ok(Ok(()));
        };
        for _ in 0..ATTEMPTS {
            let quota = buckets.quota();
            let level = buckets.bucket(claim.slot.fingerprint);
            let lease = if self.table.is_keyed() { 1 } else { quota.lease() };
            let tokens = lease.min(level.whole()).max(1);
            let Some(rest) = level.take(tokens) else { return Ok(Err(Empty { wait: quota.wait(*level) })) };
            *level = rest;
            buckets.encode(access.bytes);
            match self.table.write(claim.slot, *version, access) {
                Ok(()) => {
                    let expires = access.now.saturating_add(LEASE_LIFE);
                    self.lease = Lease { tokens: tokens.saturating_sub(1), expires };
                    claim.taken = true;
                    return Ok(Ok(()));
                }
                Err(CasError::Conflict) => (*buckets, *version) = self.read(claim.slot, access)?,
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }

    /// Undoes [`RateLimit::take`], because the request does not pass after all. A token that can't be given back is lost: too few pass then, never too many.
    pub(crate) fn give_back<S>(&mut self, claim: &Claim, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        if !claim.taken {
            return Ok(());
        }
        if self.lease.is_valid(access.now) {
            self.lease.tokens = self.lease.tokens.saturating_add(1);
            return Ok(());
        }
        self.deposit(claim.slot, 1, access)
    }

    /// Brings leased tokens back to the bucket: those that have expired, or all.
    pub(crate) fn return_lease<S>(&mut self, all: bool, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        if self.lease.tokens == 0 || (!all && self.lease.is_valid(access.now)) {
            return Ok(());
        }
        self.deposit(ONLY, 0, access)
    }

    /// Puts tokens into a bucket, and with them what is left of the lease. Where the store does not answer, the lease stays for the next time.
    fn deposit<S>(&mut self, slot: Slot, tokens: u32, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        for _ in 0..ATTEMPTS {
            let (mut buckets, version) = self.read(slot, access)?;
            let quota = buckets.quota();
            // A key that has lost its place has taken its tokens with it.
            let Some(level) = buckets.known(slot.fingerprint) else { return Ok(()) };
            *level = level.give(tokens, quota);
            buckets.encode(access.bytes);
            match self.table.write(slot, version, access) {
                Ok(()) => {
                    self.lease = Lease::default();
                    return Ok(());
                }
                Err(CasError::Conflict) => {}
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }
}

#[cfg(test)]
mod tests;
