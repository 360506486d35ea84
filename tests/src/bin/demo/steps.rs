//! The steps, in the order in which they are told.

mod breaker;
mod key;
mod limit;
mod tune;
mod weights;

use anyhow::Result;

use crate::narrator::Narrator;
use crate::stage::Stage;

/// One thing that the demo shows.
pub(crate) struct Step {
    /// What it shows.
    pub(crate) title: &'static str,
    /// Shows it; the error says what was seen instead.
    pub(crate) play: fn(&mut Stage, &Narrator) -> Result<()>,
}

/// All of them.
pub(crate) const ALL: [Step; 6] = [
    Step { title: "Traffic is split 70/30", play: weights::split },
    Step { title: "The upstream learns the route key, and nobody can forge it", play: key::shown },
    Step {
        title: "A token bucket rejects who sends too much, and says which rule it was",
        play: limit::enforced,
    },
    Step {
        title: "A circuit breaker opens, half-opens and closes around a failing service",
        play: breaker::cycle,
    },
    Step { title: "A limit edited in its file is enforced a moment later", play: tune::edited },
    Step { title: "Weights edited to 0/100 under load lose no request", play: weights::shifted },
];
