//! Every decision that Spillway takes about a request, as pure functions.
//!
//! What stands here decides; it never does. There is no clock (`now` is an argument, in monotonic nanoseconds), no I/O, no
//! host call and no protobuf. State lives behind [`store::Store`], so that the same code runs in one VM's memory in a test and in
//! the data that Envoy shares between its workers.
//!
//! The filter's configuration types are here too ([`config`]), so that the control plane validates exactly what the filter parses.

#![forbid(unsafe_code)]

mod adaptive;
mod asked;
mod circuit_breaker;
mod concurrency;
pub mod config;
mod cookie;
mod cost;
mod decision;
mod degrade;
pub mod engine;
mod grpc;
pub mod header;
mod presence;
mod priority;
mod query;
mod quota;
mod rate_limit;
mod reaction;
mod record;
mod remembered;
mod request_match;
mod residue;
mod route_key;
mod scope;
pub mod store;
mod table;
#[cfg(test)]
mod testing;
mod turn;
pub mod unit;
