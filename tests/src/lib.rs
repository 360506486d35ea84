#![forbid(unsafe_code)]
//! The harness of the end-to-end tests, the demo and the benchmarks: it starts the real programs on this machine, speaks to them as
//! a client would, and ends them.
//!
//! It decides nothing about Spillway and imitates no part of it: Envoy, the control plane and the upstreams are the programs that a
//! user runs, found through [`artifacts`]. Whatever is waited for is polled with a deadline ([`wait`]); nothing sleeps and hopes.

pub mod artifacts;
pub mod authority;
pub mod chaos;
pub mod client;
pub mod control_plane;
pub mod crossings;
pub mod debian;
pub mod documents;
pub mod envoy;
pub mod generators;
pub mod https;
pub mod load;
pub mod name_server;
pub mod otlp;
pub mod ports;
pub mod process;
pub mod python;
pub mod scene;
pub mod terminal;
pub mod tls_front;
pub mod upstream;
pub mod wait;
pub mod xds_client;
