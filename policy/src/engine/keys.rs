//! Where a request's keys are in the rules' tables.

use super::{Needs, Request};
use crate::asked::Asked;
use crate::route_key::RuleKey;
use crate::store::{Store, StoreError};
use crate::table::{Access, ONLY, Seed, Slot, Table};

/// What turns a request into the places of its keys.
pub(super) struct Keys<'a, R: ?Sized> {
    pub(super) request: &'a R,
    pub(super) needs: &'a Needs,
    pub(super) asked: &'a mut Asked,
    pub(super) route_key: &'a [u8],
    /// A buffer for rules' keys.
    pub(super) key: &'a mut Vec<u8>,
    pub(super) seed: &'a mut Option<Seed>,
}

impl<R: Request + ?Sized> Keys<'_, R> {
    /// Builds a rule's key.
    #[inline]
    pub(super) fn build(&mut self, key: &RuleKey) {
        self.key.clear();
        if !key.is_empty() {
            key.build(self.request, self.route_key, self.needs, self.asked, self.key);
        }
    }

    /// Where the key that was built is in a table.
    pub(super) fn place<S>(&mut self, table: &Table, access: &mut Access<'_, S>) -> Result<Slot, StoreError>
    where
        S: Store + ?Sized,
    {
        if !table.is_keyed() {
            return Ok(ONLY);
        }
        let seed = match *self.seed {
            Some(seed) => seed,
            None => *self.seed.insert(Seed::of(access.store, access.bytes)?),
        };
        Ok(table.slot(seed, self.key))
    }

    pub(super) fn slot<S>(
        &mut self,
        key: &RuleKey,
        table: &Table,
        access: &mut Access<'_, S>,
    ) -> Result<Slot, StoreError>
    where
        S: Store + ?Sized,
    {
        self.build(key);
        self.place(table, access)
    }
}
