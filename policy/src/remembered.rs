//! What a worker knows of the keys that it saw lately, so that it need not ask the store about each request.
//!
//! Each slot has one place, so that a look costs a mask and a comparison. Where two slots want the same place there are twice as many places from then on, up
//! to a bound; at the bound one of them has to go, and what that means is the owner's business.

use crate::table::Slot;

/// The places a rule with key begins with.
const FEW: usize = 16;

/// The most places of a rule with key.
const MOST: usize = 1_024;

/// Values by slot.
#[derive(Debug)]
pub(crate) struct Remembered<T> {
    /// As many as a power of two, or none; a slot whose fingerprint is 0 is nobody's.
    places: Vec<(Slot, T)>,
    most: usize,
}

impl<T: Copy + Default> Remembered<T> {
    /// Nothing yet, of a rule with key or of one that has only [`crate::table::ONLY`].
    pub(crate) const fn new(keyed: bool) -> Self {
        Self { places: Vec::new(), most: if keyed { MOST } else { 1 } }
    }

    const fn index(&self, slot: Slot) -> usize {
        // Truncated on 32 bits; only the lowest ten count.
        #[allow(clippy::cast_possible_truncation, reason = "masked to far less")]
        let low = slot.fingerprint as usize;
        low & self.places.len().wrapping_sub(1)
    }

    /// What is known of a slot.
    pub(crate) fn get(&self, slot: Slot) -> Option<&T> {
        let (known, value) = self.places.get(self.index(slot))?;
        (*known == slot).then_some(value)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        let index = self.index(slot);
        let (known, value) = self.places.get_mut(index)?;
        (*known == slot).then_some(value)
    }

    /// Who has to go if this slot is to be remembered: another one whose value `matters`. Makes more places rather than name one, up to the bound.
    pub(crate) fn in_the_way(&mut self, slot: Slot, matters: impl Fn(&T) -> bool) -> Option<Slot> {
        loop {
            if self.places.is_empty() {
                self.places.resize(FEW.min(self.most), (Slot::default(), T::default()));
            }
            let (known, value) = self.places.get(self.index(slot))?;
            if *known == slot || known.fingerprint == 0 || !matters(value) {
                return None;
            }
            if self.places.len() >= self.most {
                return Some(*known);
            }
            self.double();
        }
    }

    /// A slot's place moves to the new half, or stays where it is.
    fn double(&mut self) {
        let old = std::mem::take(&mut self.places);
        self.places.resize(old.len() * 2, (Slot::default(), T::default()));
        for (slot, value) in old {
            let index = self.index(slot);
            if let Some(place) = self.places.get_mut(index).filter(|_| slot.fingerprint != 0) {
                *place = (slot, value);
            }
        }
    }

    /// Remembers a value, in the place of whoever was there.
    pub(crate) fn put(&mut self, slot: Slot, value: T) {
        if self.places.is_empty() {
            self.places.resize(FEW.min(self.most), (Slot::default(), T::default()));
        }
        let index = self.index(slot);
        if let Some(place) = self.places.get_mut(index) {
            *place = (slot, value);
        }
    }

    /// How many places there are.
    pub(crate) const fn len(&self) -> usize {
        self.places.len()
    }

    /// What is in a place.
    pub(crate) fn at(&self, index: usize) -> Option<(Slot, T)> {
        self.places.get(index).copied().filter(|(slot, _)| slot.fingerprint != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::ONLY;

    fn slot(fingerprint: u64) -> Slot {
        Slot { record: 7, fingerprint }
    }

    #[test]
    fn places_become_more_until_nobody_is_in_the_way() {
        let mut known: Remembered<u64> = Remembered::new(true);
        assert_eq!(known.get(slot(1)), None);
        for fingerprint in (1..=1_024).rev() {
            assert_eq!(known.in_the_way(slot(fingerprint), |_| true), None, "{fingerprint}");
            known.put(slot(fingerprint), fingerprint * 2);
        }
        assert!((1..=1_024).all(|fingerprint| known.get(slot(fingerprint)) == Some(&(fingerprint * 2))));
        assert_eq!(known.len(), 1_024);
        assert_eq!(known.in_the_way(slot(1_025), |_| true), Some(slot(1)));
        assert_eq!(known.in_the_way(slot(1_025), |_| false), None);
        known.put(slot(1_025), 9);
        assert_eq!((known.get(slot(1)), known.get(slot(1_025))), (None, Some(&9)));
        assert_eq!(known.get(Slot { record: 8, ..slot(1_025) }), None, "of another record");
    }

    #[test]
    fn what_does_not_matter_makes_way_before_there_are_more_places() {
        let mut known: Remembered<u64> = Remembered::new(true);
        known.put(slot(1), 5);
        assert_eq!(known.in_the_way(slot(17), |value| *value > 5), None);
        assert_eq!(known.len(), 16);
    }

    #[test]
    fn a_rule_without_key_remembers_one() {
        let mut known: Remembered<u64> = Remembered::new(false);
        assert_eq!(known.in_the_way(ONLY, |_| true), None);
        known.put(ONLY, 3);
        *known.get_mut(ONLY).unwrap() += 1;
        assert_eq!((known.len(), known.at(0), known.at(1)), (1, Some((ONLY, 4)), None));
    }
}
