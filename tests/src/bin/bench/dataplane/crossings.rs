//! How often one request crosses the boundary between Envoy and the module, by Envoy's own trace of it.

use anyhow::{Result, ensure};
use spillway_tests::client::Client;

use super::variant::{TENANT, Variant};

/// The calls of one request, by name, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Crossings {
    /// From Envoy into the module.
    pub(super) callbacks: Vec<String>,
    /// From the module to Envoy.
    pub(super) host_calls: Vec<String>,
}

/// Of the third of three requests, so that what is kept between requests is there.
pub(super) fn count(variant: &mut Variant, client: &Client) -> Result<Crossings> {
    let admin = variant.envoy.admin();
    let send = || client.get(&variant.url, &[TENANT]);
    send()?;
    send()?;
    let post = |level: &str| {
        let url = format!("http://{admin}/logging?wasm={level}");
        client.send(client.request(reqwest::Method::POST, &url))
    };
    post("trace")?;
    let before = variant.envoy.process().output().len();
    client.get(&variant.url, &[TENANT])?;
    // The stream's last callback comes after the answer.
    std::thread::sleep(std::time::Duration::from_millis(100));
    post("info")?;
    let log = variant.envoy.process().output();
    let crossings = read(log.get(before..).unwrap_or_default());
    ensure!(!crossings.callbacks.is_empty(), "Envoy has traced nothing");
    Ok(crossings)
}

/// Reads a trace, without what belongs to a tick.
fn read(log: &str) -> Crossings {
    let mut crossings = Crossings::default();
    let mut in_tick = std::collections::BTreeSet::new();
    for line in log.lines() {
        // `[2026-01-31 12:00:00.000][THREAD][trace][wasm] [...] [host->vm] NAME(...)`
        let thread = line.split(['[', ']']).nth(3).unwrap_or_default();
        let name = |marker: &str| Some(line.split_once(marker)?.1.split(['(', ' ']).next()?.to_owned());
        if let Some(name) = name("[host->vm] ") {
            if name == "proxy_on_tick" {
                in_tick.insert(thread);
            } else if !in_tick.contains(thread) && name != "proxy_on_memory_allocate" {
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
    fn a_tick_in_between_does_not_count() {
        let line = |thread: u32, rest: &str| {
            format!("[2026-01-31 12:00:00.000][{thread}][trace][wasm] [wasm.cc:1] {rest}\n")
        };
        let log = [
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
}
