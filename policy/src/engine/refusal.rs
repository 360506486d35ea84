//! Why a request does not pass, where one rule or several say so.

use crate::decision::Kind;
use crate::reaction::Reaction;

/// Why a request does not pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) kind: Kind,
    /// The rule's number.
    pub(super) rule: u32,
    pub(super) wait: u64,
}

/// The refusal with the longest wait, the first of several; those in shadow mode go their own way.
pub(super) struct Refusals<'a> {
    longest: Option<Refusal>,
    shadowed: &'a mut Vec<Refusal>,
}

impl<'a> Refusals<'a> {
    #[inline]
    pub(super) const fn new(shadowed: &'a mut Vec<Refusal>) -> Self {
        Self { longest: None, shadowed }
    }

    pub(super) fn add(&mut self, refusal: Refusal, reaction: &Reaction) {
        if reaction.is_shadow {
            self.shadowed.push(refusal);
        } else if self.longest.is_none_or(|longest| longest.wait < refusal.wait) {
            self.longest = Some(refusal);
        }
    }

    /// The store did not answer a rule.
    pub(super) fn fail(&mut self, kind: Kind, rule: u32, reaction: &Reaction, failures: &mut u64) {
        *failures += 1;
        if reaction.denies {
            self.add(Refusal { kind, rule, wait: 0 }, reaction);
        }
    }

    #[inline]
    pub(super) fn into_result(self) -> Result<(), Refusal> {
        self.longest.map_or(Ok(()), Err)
    }
}
