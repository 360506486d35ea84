//! Rate limits: token buckets that all workers of a proxy share.
//!
//! A request passes only if every limit that applies has a token for it, and then takes one from each; if one has none, no limit loses any.
//! So there are two steps: [`RateLimit::claim`] looks at each bucket without taking, [`RateLimit::take`] takes from it.
//!
//! Where the rate is high, a worker takes tokens of a bucket in *leases* and spends them without asking the store. Leased tokens have left the
//! shared bucket, which may fill up behind them: over any time `t`, `workers` workers admit at most `burst + rate * t + workers * lease` requests of one key, where a lease
//! is five milliseconds' worth of tokens and never more than a hundredth of the burst (0 where that is less than two tokens). A key's first request in a while takes no lease. Slow
//! buckets and those whose rule tells clients what is left have none and are exact.
//!
//! A bucket that is empty stays so until enough has flowed in, however many others ask: a worker that refused a request remembers what it saw for fifty milliseconds and
//! refuses others without asking the store. Tokens that another worker puts back in that time are seen when it is over.
//!
//! A key with an override has a bucket of its own, outside the table. It is full when the override is made, and the key's place in the table begins anew when the override is
//! taken away: such an edit can give one key one burst.

mod buckets;
mod source;

use std::collections::HashMap;
use std::rc::Rc;

use self::source::{Looked, Source};
use crate::config;
use crate::cost::Charge;
use crate::engine::Needs;
use crate::quota::{Level, Quota};
use crate::reaction::Reaction;
use crate::request_match::Matcher;
use crate::route_key::RuleKey;
use crate::store::{Store, StoreError};
use crate::table::{Access, ONLY, Slot, Table};

/// Records in the table of a limit with key: 8,192 of eight places hold 65,536 keys in about 1.5 MB.
const RECORDS: u16 = 8_192;

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
    /// The record that was looked at last, from claim to take.
    looked: Box<Looked>,
}

/// What the buckets of a limit look like to one request.
#[derive(Debug, Clone, Copy)]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// This worker's lease.
    Lease,
    /// The record that was looked at last.
    Record,
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

impl Empty {
    fn of(limit: u32, quota: Quota, level: Level, cost: u32) -> Self {
        Self { wait: quota.wait(level, cost), standing: Standing::of(limit, quota, level) }
    }
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
        let source = |quota, table| Source::new(quota, revision, table, !rate_limit_headers);
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
            looked: Box::default(),
        }
    }

    /// Everything that this limit keeps in the store.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.buckets.iter().map(|source| &source.table)
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
        let Self { buckets, looked, .. } = self;
        let source = buckets.get_mut(usize::from(index)).ok_or(StoreError)?;
        // More than a full bucket would be never.
        let cost = cost.min(source.quota.burst());
        let from = source.claim(limit, slot, cost, looked, access)?;
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
        let Self { buckets, looked, .. } = self;
        buckets.get_mut(usize::from(claim.source)).ok_or(StoreError)?.take(claim, looked, access)
    }

    /// What is left after the claim that was made last; `None` where this worker's lease does not say.
    pub(crate) fn standing(&self, claim: &Claim) -> Option<Standing> {
        if claim.from == From::Lease {
            return None;
        }
        let mut buckets = self.looked.buckets.clone()?;
        let (quota, level) = (buckets.quota(), *buckets.bucket(claim.slot.fingerprint));
        Some(Standing::of(claim.limit, quota, level))
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
        self.buckets.iter_mut().map(|source| source.return_leases(all, access)).fold(Ok(()), Result::and)
    }
}

#[cfg(test)]
mod tests;
