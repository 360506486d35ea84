//! The figures as a table and as JSON.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use spillway_tests::crossings::Crossings;
use spillway_tests::load::quantile;

use super::Options;
use super::picture;
use super::variant::{Answers, Filter, Variant};
use crate::machine;

/// One row.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) scenario: &'static str,
    pub(super) answers: Answers,
    pub(super) filter: Filter,
    pub(super) workers: usize,
    /// Nanoseconds of CPU time per request, one a round.
    cpu: Vec<u64>,
    /// p50, p99 and p99.9 in microseconds, if that was measured.
    latency: Option<[u64; 3]>,
    resident: u64,
    start_millis: u128,
    pub(super) crossings: Option<Crossings>,
    /// Bytes of the worker's VM, before and after many tenants.
    pub(super) vm: Option<(u64, u64)>,
    /// In so many requests so many writes of what workers share, and so many in vain.
    pub(super) writes: Option<(usize, (usize, usize))>,
}

impl Measured {
    pub(super) fn of(scenario: &'static str, answers: Answers, variant: &mut Variant) -> Result<Self> {
        let latency = |share| quantile(&variant.latencies, share);
        Ok(Self {
            scenario,
            answers,
            filter: variant.filter,
            workers: variant.workers,
            cpu: variant.measured.clone(),
            latency: latency(0.5)
                .zip(latency(0.99))
                .zip(latency(0.999))
                .map(|((p50, p99), p999)| [p50, p99, p999]),
            resident: variant.envoy.process().memory()?,
            start_millis: variant.start.as_millis(),
            crossings: None,
            vm: None,
            writes: None,
        })
    }

    /// Microseconds of CPU time per request.
    fn micros(&self, share: f64) -> f64 {
        quantile(&self.cpu, share).map_or(f64::NAN, in_micros)
    }

    /// Microseconds that it takes more than `base`, round by round.
    fn added_to(&self, base: &Self) -> f64 {
        let each: Vec<_> = self
            .cpu
            .iter()
            .zip(&base.cpu)
            .map(|(own, base)| own.cast_signed() - base.cast_signed())
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "microseconds with one digit behind the point")]
        quantile(&each, 0.5).map_or(f64::NAN, |nanos| nanos as f64 / 1_000.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds with one digit behind the point")]
fn in_micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "MiB with one digit behind the point")]
fn in_mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    title: String,
    /// The variants of each scenario together, without filter first and ours last.
    groups: Vec<Vec<Measured>>,
}

/// A row with what it is compared with.
pub(super) struct Compared<'a> {
    pub(super) row: &'a Measured,
    /// Microseconds of CPU time that a request takes more than without a filter.
    pub(super) added: f64,
    /// The same, with what Lua adds as 1.
    pub(super) of_lua: Option<f64>,
}

impl Report {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let (rounds, Options { requests, connections, .. }) = (options.rounds(), options);
        let title = format!(
            "{}; {rounds} rounds of {requests} requests, {connections} connections",
            machine::line()?
        );
        Ok(Self { title, groups: Vec::new() })
    }

    pub(super) fn add(&mut self, group: Vec<Measured>) {
        self.groups.push(group);
    }

    fn compared(&self) -> Vec<Compared<'_>> {
        let mut rows = Vec::new();
        for group in &self.groups {
            for row in group {
                let find =
                    |filter| group.iter().find(|one| one.filter == filter && one.workers == row.workers);
                let Some(base) = find(Filter::None) else { continue };
                let added = row.added_to(base);
                let lua = find(Filter::Lua).filter(|_| row.filter != Filter::None);
                rows.push(Compared { row, added, of_lua: lua.map(|lua| added / lua.added_to(base)) });
            }
        }
        rows
    }

    pub(super) fn print(&self) {
        println!("{}\n", self.title);
        println!(
            "| scenario | answered by | workers | HTTP filter | CPU of a request (quarter to quarter) | added | Lua = 1 | p50 / p99 / p99.9 at half load | resident | until ready |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for Compared { row, added, of_lua } in self.compared() {
            let [low, median, high] = [0.25, 0.5, 0.75].map(|share| row.micros(share));
            let of_lua = of_lua.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            let latency =
                row.latency.map_or_else(String::new, |[p50, p99, p999]| format!("{p50} / {p99} / {p999} us"));
            println!(
                "| {} | {} | {} | {} | {median:.1} us ({low:.1} to {high:.1}) | {added:+.1} us | {of_lua} | {latency} | {:.0} MiB | {} ms |",
                row.scenario,
                row.answers.as_str(),
                row.workers,
                row.filter.as_str(),
                in_mebibytes(row.resident),
                row.start_millis,
            );
        }
        println!();
        for group in &self.groups {
            for line in notes(group) {
                println!("{line}");
            }
        }
    }

    pub(super) fn json(&self) -> Result<String> {
        let row = |Compared { row, added, of_lua }: Compared<'_>| -> Value {
            let nanos = |share| quantile(&row.cpu, share);
            let calls = |of: fn(&Crossings) -> &Vec<String>| row.crossings.as_ref().map(of);
            json!({
                "scenario": row.scenario,
                "answeredBy": row.answers.as_str(),
                "workers": row.workers,
                "filter": row.filter.as_str(),
                "cpuNanosPerRequest": {"p25": nanos(0.25), "p50": nanos(0.5), "p75": nanos(0.75)},
                "addedMicros": added,
                "addedLuaIs1": of_lua,
                "latencyMicros": row.latency.map(|[p50, p99, p999]| json!({"p50": p50, "p99": p99, "p999": p999})),
                "residentBytes": row.resident,
                "vmBytes": row.vm.map(|(before, after)| json!({"before": before, "withManyKeys": after})),
                "millisUntilReady": u64::try_from(row.start_millis).unwrap_or(u64::MAX),
                "sharedWrites": row.writes.map(|(requests, (all, refused))| json!({"requests": requests, "writes": all, "refused": refused})),
                "callbacks": calls(|crossings| &crossings.callbacks),
                "hostCalls": calls(|crossings| &crossings.host_calls),
            })
        };
        let rows: Vec<_> = self.compared().into_iter().map(row).collect();
        serde_json::to_string_pretty(&json!({"machine": self.title, "rows": rows})).context("no JSON")
    }

    pub(super) fn svg(&self) -> String {
        picture::bars(&self.title, &self.compared())
    }
}

/// What has no column.
fn notes(group: &[Measured]) -> Vec<String> {
    let mut notes = Vec::new();
    for row in group {
        let name = format!("{}, answered by {}", row.scenario, row.answers.as_str());
        if let Some(Crossings { callbacks, host_calls }) = &row.crossings {
            notes.push(format!(
                "{name}: {} callbacks and {} host calls: {} asks {}",
                callbacks.len(),
                host_calls.len(),
                callbacks.join(", "),
                host_calls.join(", ")
            ));
        }
        if let Some((before, after)) = row.vm {
            let (before, after) = (in_mebibytes(before), in_mebibytes(after));
            notes.push(format!(
                "{name}: the worker's VM has {before:.2} MiB, {after:.2} MiB after {} keys",
                super::TENANTS
            ));
        }
        let one = group.iter().find(|one| one.filter == row.filter && one.workers == 1);
        if let (2.., Some(one)) = (row.workers, one) {
            let ratio = row.micros(0.5) / one.micros(0.5);
            let writes = row.writes.map_or_else(String::new, |(requests, (all, refused))| {
                format!(", {all} writes of shared data in {requests} requests, {refused} in vain")
            });
            notes.push(format!(
                "{name}: {} workers take {ratio:.2} of one worker's CPU with {}{writes}",
                row.workers,
                row.filter.as_str()
            ));
        }
    }
    notes
}
