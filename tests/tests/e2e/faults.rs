//! What must not matter to requests, nor to other proxies: broken networks, a control plane that dies, and clients that behave badly.
//!
//! Always under load, always with an Envoy that goes on following edits, and with a bound on the control plane's memory.

mod clients;
mod crowd;
mod network;
mod restarts;
