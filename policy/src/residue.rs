//! State of rules that are no more.
//!
//! The store deletes nothing, so what a removed rule leaves behind is overwritten by a single byte, which reads as a record that was never written. What remains is the
//! names of its records: some 100 bytes each in Envoy's memory, of a rule with key at most as many as its table has records. That begins ten seconds after the last engine of this VM
//! that had the rule is gone, because other workers may be a little behind, and goes on for a few seconds, some records at each tick. A rule that comes back in the meantime
//! keeps what has not been overwritten; one that comes back later begins anew. What was removed while no VM was running stays.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::store::{CasError, Store, StoreError};
use crate::table::Table;

/// How long after the last use it begins.
const GRACE: u64 = 10_000_000_000;

/// Records at each tick.
const STRIDE: u32 = 64;

/// What a freed record holds.
const NOTHING: [u8; 1] = [0];

/// What the engines of one VM use, and what they have left behind.
#[derive(Debug, Default)]
struct Residue {
    /// How many engines use what a table's records begin with.
    used: HashMap<Box<[u8]>, u32>,
    left: Vec<Left>,
    bytes: Vec<u8>,
}

/// A table that nobody uses any more.
#[derive(Debug)]
struct Left {
    table: Table,
    /// When a tick saw it first.
    since: Option<u64>,
    /// The record to be freed next.
    next: u32,
}

/// One VM's residue, shared by all its engines.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfVm(Rc<RefCell<Residue>>);

impl OfVm {
    /// An engine uses these.
    pub(crate) fn enter<'t>(&self, tables: impl Iterator<Item = &'t Table>) {
        let mut residue = self.0.borrow_mut();
        for table in tables {
            *residue.used.entry(table.name().into()).or_default() += 1;
        }
    }

    /// An engine that used these is gone.
    pub(crate) fn leave<'t>(&self, tables: impl Iterator<Item = &'t Table>) {
        let Residue { used, left, .. } = &mut *self.0.borrow_mut();
        for table in tables {
            let Some(count) = used.get_mut(table.name()) else { continue };
            *count -= 1;
            if *count == 0 {
                used.remove(table.name());
                left.push(Left { table: table.clone(), since: None, next: 0 });
            }
        }
    }

    /// Frees some of what is left behind.
    pub(crate) fn tick<S: Store + ?Sized>(&self, store: &mut S, now: u64) -> Result<(), StoreError> {
        let Residue { used, left, bytes } = &mut *self.0.borrow_mut();
        left.retain(|left| !used.contains_key(left.table.name()));
        for one in &mut *left {
            one.since.get_or_insert(now);
        }
        // Those that were left later have waited less.
        let Some(one) = left.first_mut() else { return Ok(()) };
        if now.saturating_sub(one.since.unwrap_or(now)) < GRACE {
            return Ok(());
        }
        let end = one.table.records().min(one.next.saturating_add(STRIDE));
        for record in one.next..end {
            one.table.free(record, &NOTHING, bytes, store)?;
            one.next = record + 1;
        }
        if end == one.table.records() {
            left.remove(0);
        }
        Ok(())
    }
}

impl Table {
    /// Overwrites a record, if there is one and nobody else is writing it.
    fn free<S>(
        &mut self,
        record: u32,
        nothing: &[u8],
        bytes: &mut Vec<u8>,
        store: &mut S,
    ) -> Result<(), StoreError>
    where
        S: Store + ?Sized,
    {
        let key = self.record(record);
        let Some(version) = store.read(key, bytes)? else { return Ok(()) };
        if bytes.len() <= nothing.len() {
            return Ok(());
        }
        match store.compare_and_set(key, nothing, Some(version)) {
            Ok(()) | Err(CasError::Conflict) => Ok(()),
            Err(CasError::Failed(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::engine::Engine;
    use crate::testing::*;

    fn policies(rules: &Value) -> Value {
        json!([{ "name": "p", "rateLimits": rules }])
    }

    /// An engine of the same VM that takes the place of another.
    fn replaced(engine: Engine, store: &mut Shared, now: u64, revision: u64, rules: &Value) -> Engine {
        let mut next = engine_at(revision, policies(rules));
        next.join(&engine);
        let mut engine = engine;
        engine.retire(store, now);
        next
    }

    fn tick(engine: &mut Engine, store: &mut Shared, from: u64, seconds: u64) {
        for step in 0..seconds * 20 {
            engine.tick(store, from + step * 50 * MS);
        }
    }

    #[test]
    fn a_removed_rule_leaves_almost_nothing_and_the_others_all() {
        let (mut store, request) = (Shared::default(), Described::default());
        let keyed = json!({ "name": "k", "rate": "1/h", "burst": 5, "key": [{ "header": "k" }],
            "overrides": [{ "key": "own", "rate": "1/h", "burst": 5 }] });
        let kept = json!({ "name": "r", "rate": "1/h", "burst": 5 });
        let mut first = engine(policies(&json!([keyed, kept])));
        for key in 0..2_000_u32 {
            let key = if key == 0 { b"own".to_vec() } else { key.to_le_bytes().to_vec() };
            first.decide(&Described::default().header("k", key), &mut store, SECOND);
        }
        let before = store.memory.borrow().bytes();
        let mut second = replaced(first, &mut store, SECOND, 2, &json!([kept]));
        tick(&mut second, &mut store, SECOND, 9);
        assert_eq!(store.memory.borrow().bytes(), before, "others may still use it");
        tick(&mut second, &mut store, 10 * SECOND, 15);
        let memory = store.memory.borrow().clone();
        let names: usize = 30;
        assert!(memory.bytes() < memory.len() * names + 200, "{} of {before} bytes", memory.bytes());
        drop(memory);
        assert!(!passes(&mut second, &request, &mut store, 25 * SECOND), "the other rule is as it was");
    }

    #[test]
    fn a_rule_that_comes_back_in_time_keeps_its_state() {
        let mut store = Shared::default();
        let rule = json!([{ "name": "r", "rate": "1/h", "burst": 2 }]);
        let mut engine = engine(policies(&rule));
        assert_eq!(count(&mut engine, &Described::default(), &mut store, SECOND, 5), 2);
        let mut without = replaced(engine, &mut store, SECOND, 2, &json!([]));
        tick(&mut without, &mut store, SECOND, 5);
        let mut back = replaced(without, &mut store, 6 * SECOND, 3, &rule);
        tick(&mut back, &mut store, 6 * SECOND, 30);
        assert_eq!(count(&mut back, &Described::default(), &mut store, 36 * SECOND, 5), 0);
        let mut gone = replaced(back, &mut store, 36 * SECOND, 4, &json!([]));
        tick(&mut gone, &mut store, 36 * SECOND, 11);
        let mut anew = replaced(gone, &mut store, 48 * SECOND, 5, &rule);
        assert_eq!(count(&mut anew, &Described::default(), &mut store, 48 * SECOND, 5), 2);
    }

    #[test]
    fn what_another_engine_of_the_vm_uses_is_not_freed() {
        let mut store = Shared::default();
        let rule = json!([{ "name": "r", "rate": "1/h", "burst": 2 }]);
        let mut other = engine(policies(&rule));
        let mut engine = engine(policies(&rule));
        engine.join(&other);
        assert_eq!(count(&mut engine, &Described::default(), &mut store, SECOND, 5), 2);
        drop(engine);
        tick(&mut other, &mut store, SECOND, 30);
        assert!(!passes(&mut other, &Described::default(), &mut store, 31 * SECOND));
    }
}
