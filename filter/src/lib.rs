//! The module that Envoy loads: it translates between Envoy's host calls and `spillway-policy`, and decides nothing itself.
//!
//! It speaks the proxy-wasm ABI 0.2.1 with entry points of its own: Envoy calls every callback that a module exports, and every call
//! across the boundary costs half a microsecond or more, in either direction. So only what is needed is exported, nothing is asked
//! of the host that the configuration does not need, and counters travel in bunches.
//!
//! [`host`] is the boundary and holds the only unsafe code; everything else is generic over [`host::Host`] and runs natively too, which
//! is how it is tested. [`filter::Filter`] is the state of one VM, which is to say of one worker thread.

#![deny(unsafe_code)]

pub mod filter;
pub mod host;

mod metrics;
mod outcome;
mod reject;
mod request;
mod shared_data;
