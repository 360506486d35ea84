//! Rate limits: token buckets that all workers of a proxy share.
//!
//! A request passes only if every limit that applies has a token for it, and then takes one from each; if one has none, no limit loses any.
//! So there are two steps: [`RateLimit::claim`] looks at each bucket without taking, [`RateLimit::take`] takes from it.
//!
//! Where the rate is high, a worker takes tokens of a bucket without key in *leases* and spends them without asking the store. Leased tokens have left the
//! shared bucket, which may fill up behind them: over any time `t`, `workers` workers admit at most `burst + rate * t + workers * lease` requests, where a lease
//! is five milliseconds' worth of tokens and never more than a hundredth of the burst (0 where that is less than two tokens). Buckets with a key,
//! slow ones and those whose rule tells clients what is left have no leases and are exact.
//!
//! A key with an override has a bucket of its own, outside the table. It is full when the override is made, and the key's place in the table begins anew when the override is
//! taken away: such an edit can give one key one burst.

mod buckets;

use std::collections::HashMap;
use std::rc::Rc;

use self::buckets::{Buckets, Terms, WAYS};
use crate::config;
use crate::cost::Charge;
use crate::engine::Needs;
use crate::quota::{Level, Quota};
use crate::reaction::Reaction;
use crate::request_match::Matcher;
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
    pub(crate) when: Matcher,
    pub(crate) charge: Charge,
    pub(crate) reaction: Reaction,
    /// Whether clients are told what is left.
    pub(crate) tells: bool,
    /// The limit's own buckets, then those of the overrides.
    buckets: Vec<Source>,
    /// Which of them a key has; `None`: no limit.
    overrides: HashMap<Box<[u8]>, Option<u16>>,
}

/// Where tokens come from: a table of buckets, or a single one.
#[derive(Debug)]
struct Source {
    quota: Quota,
    revision: u64,
    table: Table,
    lease: Lease,
    leases: bool,
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
    /// Which of its buckets.
    source: u16,
    slot: Slot,
    cost: u32,
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

/// There are not enough tokens, and there will not be for so many nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Empty {
    pub(crate) wait: u64,
    pub(crate) standing: Standing,
}

/// What a client can be told of its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Which of the engine's limits.
    pub(crate) limit: u32,
    /// The tokens in a full bucket.
    pub(crate) quota: u32,
    /// Nanoseconds in which an empty bucket fills.
    pub(crate) window: u64,
    /// Whole tokens left.
    pub(crate) remaining: u32,
    /// Nanoseconds until there is one more; 0 where the bucket is full.
    pub(crate) next: u64,
}

impl Standing {
    fn of(limit: u32, quota: Quota, level: Level) -> Self {
        let (burst, remaining) = (quota.burst(), level.whole());
        let next = if remaining < burst { quota.wait(level, remaining.saturating_add(1)) } else { 0 };
        Self { limit, quota: burst, window: quota.wait(Level::default(), burst), remaining, next }
    }
}

/// Where a key's tokens are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the table.
    Common,
    /// In a bucket of its own.
    Own(u16),
    /// Nowhere: there is no limit for it.
    Unlimited,
}

impl RateLimit {
    pub(crate) fn new(policy: Rc<str>, rule: config::RateLimit, revision: u64, needs: &mut Needs) -> Self {
        let config::RateLimit {
            name,
            key,
            rate,
            burst,
            when,
            cost,
            scope: config::LimitScope::Proxy,
            overrides,
            mode,
            on_failure,
            response,
            rate_limit_headers,
        } = rule;
        let key = RuleKey::compile(&key, needs);
        let source = |quota, table| Source {
            quota,
            revision,
            table,
            lease: Lease::default(),
            leases: !rate_limit_headers,
        };
        let table = Table::new("limit", &policy, &name, (!key.is_empty()).then_some(RECORDS));
        let mut buckets = vec![source(Quota::new(rate, burst), table)];
        let mut places = HashMap::new();
        for config::Override { key, rate, burst, unlimited: _ } in overrides {
            let own = rate.map(|rate| {
                buckets.push(source(Quota::new(rate, burst), Table::own("limit", &policy, &name, &key)));
                u16::try_from(buckets.len() - 1).unwrap_or(u16::MAX)
            });
            places.insert(key.as_bytes().into(), own);
        }
        Self {
            policy,
            rule: Rc::from(name.as_str()),
            key,
            when: Matcher::compile(&when, needs),
            charge: Charge::compile(cost.as_ref(), needs),
            reaction: Reaction::new(mode, on_failure, response),
            tells: rate_limit_headers,
            buckets,
            overrides: places,
        }
    }

    /// The table of the keys that have no override.
    pub(crate) fn table(&self) -> Option<&Table> {
        self.buckets.first().map(|source| &source.table)
    }

    /// Where a key's tokens are.
    pub(crate) fn place(&self, key: &[u8]) -> Place {
        if self.overrides.is_empty() {
            return Place::Common;
        }
        match self.overrides.get(key) {
            None => Place::Common,
            Some(Some(own)) => Place::Own(*own),
            Some(None) => Place::Unlimited,
        }
    }

    /// Whether there are so many tokens for a request. Takes nothing. `slot` is not looked at for a bucket of its own.
    pub(crate) fn claim<S>(
        &mut self,
        limit: u32,
        place: Place,
        slot: Slot,
        cost: u32,
        access: &mut Access<'_, S>,
    ) -> Result<Result<Claim, Empty>, StoreError>
    where
        S: Store + ?Sized,
    {
        let (index, slot) = match place {
            Place::Own(own) => (own, ONLY),
            Place::Common | Place::Unlimited => (0, slot),
        };
        let source = self.buckets.get_mut(usize::from(index)).ok_or(StoreError)?;
        // More than a full bucket would be never.
        let cost = cost.min(source.quota.burst());
        let from = source.claim(limit, slot, cost, access)?;
        Ok(from.map(|from| Claim { limit, source: index, slot, cost, from, taken: false }))
    }

    /// Takes the tokens that were claimed, or others if somebody else has them.
    pub(crate) fn take<S>(
        &mut self,
        claim: &mut Claim,
        access: &mut Access<'_, S>,
    ) -> Result<Result<(), Empty>, StoreError>
    where
        S: Store + ?Sized,
    {
        self.buckets.get_mut(usize::from(claim.source)).ok_or(StoreError)?.take(claim, access)
    }

    /// Undoes [`RateLimit::take`], because the request does not pass after all. A token that can't be given back is lost: too few pass then, never too many.
    pub(crate) fn give_back<S>(&mut self, claim: &Claim, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        self.buckets.get_mut(usize::from(claim.source)).ok_or(StoreError)?.give_back(claim, access)
    }

    /// Brings leased tokens back to their buckets: those that have expired, or all.
    pub(crate) fn return_leases<S>(&mut self, all: bool, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        self.buckets.iter_mut().map(|source| source.return_lease(all, access)).fold(Ok(()), Result::and)
    }
}

impl Claim {
    /// What is left after the claim; `None` where this worker's lease does not say.
    pub(crate) fn standing(&self) -> Option<Standing> {
        let From::Record(buckets, _) = &self.from else { return None };
        let mut buckets = buckets.clone();
        let (quota, level) = (buckets.quota(), *buckets.bucket(self.slot.fingerprint));
        Some(Standing::of(self.limit, quota, level))
    }
}

impl Source {
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

    fn claim<S>(
        &mut self,
        limit: u32,
        slot: Slot,
        cost: u32,
        access: &mut Access<'_, S>,
    ) -> Result<Result<From, Empty>, StoreError>
    where
        S: Store + ?Sized,
    {
        if self.lease.is_valid(access.now) && self.lease.tokens >= cost {
            return Ok(Ok(From::Lease));
        }
        let (mut buckets, version) = self.read(slot, access)?;
        let (quota, level) = (buckets.quota(), *buckets.bucket(slot.fingerprint));
        Ok(match level.take(cost) {
            Some(_) => Ok(From::Record(buckets, version)),
            None => Err(Empty { wait: quota.wait(level, cost), standing: Standing::of(limit, quota, level) }),
        })
    }

    fn take<S>(
        &mut self,
        claim: &mut Claim,
        access: &mut Access<'_, S>,
    ) -> Result<Result<(), Empty>, StoreError>
    where
        S: Store + ?Sized,
    {
        let Claim { limit, slot, cost, .. } = *claim;
        let From::Record(buckets, version) = &mut claim.from else {
            self.lease.tokens = self.lease.tokens.saturating_sub(cost);
            claim.taken = true;
            return Ok(Ok(()));
        };
        for _ in 0..ATTEMPTS {
            let quota = buckets.quota();
            let level = buckets.bucket(slot.fingerprint);
            let lease = if self.table.is_keyed() || !self.leases { 0 } else { quota.lease() };
            let tokens = lease.min(level.whole()).max(cost);
            let Some(rest) = level.take(tokens) else {
                let standing = Standing::of(limit, quota, *level);
                return Ok(Err(Empty { wait: quota.wait(*level, cost), standing }));
            };
            *level = rest;
            buckets.encode(access.bytes);
            match self.table.write(slot, *version, access) {
                Ok(()) => {
                    let expires = access.now.saturating_add(LEASE_LIFE);
                    self.lease = Lease { tokens: tokens.saturating_sub(cost), expires };
                    claim.taken = true;
                    return Ok(Ok(()));
                }
                Err(CasError::Conflict) => (*buckets, *version) = self.read(slot, access)?,
                Err(CasError::Failed(error)) => return Err(error),
            }
        }
        Err(StoreError)
    }

    fn give_back<S>(&mut self, claim: &Claim, access: &mut Access<'_, S>) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        if !claim.taken {
            return Ok(());
        }
        if self.lease.is_valid(access.now) {
            self.lease.tokens = self.lease.tokens.saturating_add(claim.cost);
            return Ok(());
        }
        self.deposit(claim.slot, claim.cost, access)
    }

    fn return_lease<S>(&mut self, all: bool, access: &mut Access<'_, S>) -> Result<(), StoreError>
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
