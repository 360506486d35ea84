//! How a service behaves at the moment, and how often it was asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// One service of this process.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// What it calls itself.
    pub(crate) name: String,
    behaviour: Mutex<Behaviour>,
    requests: AtomicU64,
}

/// What a service does with a request. The default is the healthy service: 200 at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Behaviour {
    /// The status of the answer, 200 to 599.
    pub(crate) status: u16,
    /// Milliseconds to wait before answering.
    pub(crate) delay_ms: u64,
    /// Whether to reset the connection in place of an answer (after the delay).
    pub(crate) reset: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { status: 200, delay_ms: 0, reset: false }
    }
}

impl Upstream {
    /// A healthy service.
    pub(crate) fn new(name: String) -> Self {
        Self { name, behaviour: Mutex::new(Behaviour::default()), requests: AtomicU64::new(0) }
    }

    /// How to behave now.
    pub(crate) fn behaviour(&self) -> Behaviour {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Behaves like this from the next request on.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// Counts one request.
    pub(crate) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests since the start, answered or not.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}
