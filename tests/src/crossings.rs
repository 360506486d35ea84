//! How often one request crosses the boundary between Envoy and the module, by Envoy's own trace of it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::client::Client;
use crate::envoy::Envoy;
use crate::wait;

/// The calls of one request, by name, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crossings {
    /// From Envoy into the module.
    pub callbacks: Vec<String>,
    /// From the module to Envoy.
    pub host_calls: Vec<String>,
}

/// So many requests before the one that counts have the filter remember what it keeps between requests that come close together.
const BEFORE: usize = 3;

/// The callback with which a request begins.
const BEGINNING: &str = "proxy_on_request_headers";

/// Counts those of one request that follows others, by Envoy's own trace; `end` is the callback that comes last, perhaps after the answer.
pub fn count(
    envoy: &mut Envoy,
    client: &Client,
    url: &str,
    headers: &[(&str, &str)],
    end: &str,
) -> Result<Crossings> {
    let before = envoy.process().output().len();
    level(envoy, client, "trace")?;
    for _ in 0..=BEFORE {
        client.get(url, headers)?;
    }
    // Where a configuration comes just then, that end never comes, and whoever asked tries again.
    let crossings = wait::until_within(Duration::from_secs(3), "the end of a trace", || {
        let log = envoy.process().output();
        let traced = log.get(before..).unwrap_or_default();
        let begun = traced.matches(&format!("[host->vm] {BEGINNING}")).count();
        ensure!(begun > BEFORE, "{begun} requests");
        let crossings = read(traced);
        ensure!(crossings.callbacks.last().is_some_and(|last| last == end), "{:?}", crossings.callbacks);
        Ok(crossings)
    })?;
    level(envoy, client, "info")?;
    Ok(crossings)
}

/// How often workers wrote what they share while `act` ran, and how often one of them had to do it again because another had been faster.
pub fn writes(
    envoy: &mut Envoy,
    client: &Client,
    act: impl FnOnce() -> Result<()>,
) -> Result<(usize, usize)> {
    let before = envoy.process().output().len();
    level(envoy, client, "trace")?;
    act()?;
    level(envoy, client, "info")?;
    let log = envoy.process().output();
    Ok(read_writes(log.get(before..).unwrap_or_default()))
}

fn level(envoy: &Envoy, client: &Client, level: &str) -> Result<()> {
    let url = format!("http://{}/logging?wasm={level}", envoy.admin());
    client.send(client.request(reqwest::Method::POST, &url)).map(drop)
}

/// All of `proxy_set_shared_data`, and those that were refused because the value had changed (status 8 of the ABI).
fn read_writes(log: &str) -> (usize, usize) {
    let returned = log.lines().filter_map(|line| line.split_once("env.proxy_set_shared_data return: "));
    returned
        .fold((0, 0), |(all, refused), (_, status)| (all + 1, refused + usize::from(status.trim() == "8")))
}

/// Reads the last request of a trace, without what belongs to a tick.
fn read(log: &str) -> Crossings {
    let mut crossings = Crossings::default();
    let mut in_tick = BTreeSet::new();
    for line in log.lines() {
        // `[2026-01-31 12:00:00.000][THREAD][trace][wasm] [...] [host->vm] NAME(...)`
        let thread = line.split(['[', ']']).nth(3).unwrap_or_default();
        let name = |marker: &str| Some(line.split_once(marker)?.1.split(['(', ' ']).next()?.to_owned());
        if let Some(name) = name("[host->vm] ") {
            if name == "proxy_on_tick" {
                in_tick.insert(thread);
            } else if !in_tick.contains(thread) && name != "proxy_on_memory_allocate" {
                if name == BEGINNING {
                    crossings = Crossings::default();
                }
                crossings.callbacks.push(name);
            }
        } else if line.contains("[host<-vm] proxy_on_tick") {
            in_tick.remove(thread);
        } else if let Some(name) = name("[vm->host] ")
            && !in_tick.contains(thread)
        {
            crossings.host_calls.push(name.rsplit('.').next().unwrap_or(&name).to_owned());
        }
    }
    crossings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_in_between_and_earlier_requests_do_not_count() {
        let line = |thread: u32, rest: &str| {
            format!("[2026-01-31 12:00:00.000][{thread}][trace][wasm] [wasm.cc:1] {rest}\n")
        };
        let log = [
            line(7, "[host->vm] proxy_on_request_headers(1, 5, 1)"),
            line(7, "[vm->host] env.proxy_get_shared_data(1, 2, 3, 4, 5)"),
            line(7, "[host->vm] proxy_on_request_headers(2, 5, 1)"),
            line(7, "[vm->host] env.proxy_get_header_map_value(0, 1, 2, 3, 4)"),
            line(7, "[host->vm] proxy_on_memory_allocate(4)"),
            line(8, "[host->vm] proxy_on_tick(1)"),
            line(8, "[vm->host] env.proxy_increment_metric(1, 1)"),
            line(7, "[vm->host] wasi_snapshot_preview1.clock_time_get(1, 0, 3)"),
            line(8, "[host<-vm] proxy_on_tick return: void"),
            line(8, "[host->vm] proxy_on_log(2)"),
        ];
        let crossings = read(&log.concat());
        assert_eq!(crossings.callbacks, ["proxy_on_request_headers", "proxy_on_log"]);
        assert_eq!(crossings.host_calls, ["proxy_get_header_map_value", "clock_time_get"]);
    }

    #[test]
    fn a_write_is_refused_with_status_8() {
        let line = |status: u32| {
            format!("[..][7][trace][wasm] [vm<-host] env.proxy_set_shared_data return: {status}\n")
        };
        assert_eq!(read_writes(&[line(0), line(8), line(0), "other\n".to_owned()].concat()), (3, 1));
    }
}
