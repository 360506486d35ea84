//! What a worker knows of a key's breaker, so that it need not ask the store about each request.

use super::cell::{Cell, Permit, State, Tally, Terms};

/// What a worker knows of one key's breaker.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    pub(super) generation: u64,
    pub(super) seen: Seen,
    /// When the store was asked.
    pub(super) asked: u64,
    /// Outcomes of this generation that the store does not have yet.
    pub(super) pending: Tally,
    /// When the store got the ones before.
    pub(super) counted: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Seen {
    #[default]
    Nothing,
    Closed,
    Open {
        until: u64,
    },
    /// Half-open, and all tickets are out.
    Probing {
        until: u64,
    },
}

impl Known {
    /// What is left to know of a breaker that the store has just shown.
    pub(super) fn of(cell: &Cell, terms: &Terms, now: u64) -> Self {
        let seen = match (cell.state, cell.permit(terms, now)) {
            (State::Closed(_), _) => Seen::Closed,
            (State::Open { .. }, Permit::Reject { wait }) => Seen::Open { until: now.saturating_add(wait) },
            (State::HalfOpen { deadline, .. }, Permit::Reject { .. }) => Seen::Probing { until: deadline },
            _ => Seen::Nothing,
        };
        Self { generation: cell.generation, seen, asked: now, ..Self::default() }
    }
}
