#![forbid(unsafe_code)]
//! End to end: the real Envoy, the real control plane, real upstreams and clients.
//!
//! Each test has programs, ports and documents of its own, so all of them can run at the same time. What is waited for is polled with a
//! deadline; a bound on a count is an invariant or so wide that chance does not reach it, and no bound is on speed.

mod adaptive;
mod admin_tls;
mod api;
mod backends;
mod breaker;
mod breaker_outcomes;
mod breaker_timeline;
mod by_hand;
mod check;
mod checklist;
mod client_status;
mod command_page;
mod commands;
mod completions;
mod compose;
mod concurrency;
mod counters;
mod crossings;
mod degrade;
mod demo;
mod exact_rates;
mod examples;
mod exit_codes;
mod explain;
mod faults;
mod forgotten;
mod gauges;
mod guarded_push;
mod hot_edit;
mod hot_edit_refused;
mod key_sources;
mod limits;
mod listeners;
mod long_streams;
mod make_before_break;
mod many_keys;
mod many_routes;
mod proxyless;
mod proxyless_fields;
mod rate_limit;
mod reasons;
mod restart;
mod route_key;
mod routes;
mod routing;
mod serve;
mod stage;
mod static_configuration;
mod telemetry;
mod terminal;
mod text;
mod tls;
mod top;
mod tracing;
mod trap;
mod upstream;
mod variants;
mod world;
mod xds_tls;
