//! The figures as a table, as JSON and as a picture.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use spillway_tests::load::quantile;

use super::Options;
use super::crossings::Crossings;
use super::variant::{Answers, Filter, Variant};
use crate::machine;

/// One row.
#[derive(Debug)]
pub(super) struct Measured {
    scenario: &'static str,
    answers: Answers,
    filter: Filter,
    /// Least, median and most, in nanoseconds of CPU time per request.
    cpu: [u64; 3],
    /// p50, p99 and p99.9 in microseconds.
    latency: [u64; 3],
    memory: u64,
    start_millis: u128,
    crossings: Option<Crossings>,
}

impl Measured {
    pub(super) fn of(
        scenario: &'static str,
        answers: Answers,
        variant: &mut Variant,
        crossings: Option<Crossings>,
    ) -> Result<Self> {
        let cpu = |share| quantile(&variant.measured, share).context("nothing was measured");
        let latency = |share| quantile(&variant.latencies, share).context("no latency was measured");
        let (cpu, latency) =
            ([cpu(0.0)?, cpu(0.5)?, cpu(1.0)?], [latency(0.5)?, latency(0.99)?, latency(0.999)?]);
        let memory = variant.envoy.process().memory()?;
        let start_millis = variant.start.as_millis();
        Ok(Self { scenario, answers, filter: variant.filter, cpu, latency, memory, start_millis, crossings })
    }

    const fn median(&self) -> u64 {
        let [_, median, _] = self.cpu;
        median
    }
}

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    title: String,
    /// The variants of each scenario together, without filter first and ours last.
    groups: Vec<Vec<Measured>>,
}

/// A row with what it is compared with, in microseconds.
struct Compared<'a> {
    row: &'a Measured,
    added: f64,
    /// Added, with what Lua adds as 1.
    of_lua: Option<f64>,
}

impl Report {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let Options { rounds, seconds, connections, workers, .. } = options;
        let title = format!(
            "{}; {rounds} rounds of {seconds} s, {connections} connections, {workers} worker(s)",
            machine::line()?
        );
        Ok(Self { title, groups: Vec::new() })
    }

    pub(super) fn add(&mut self, group: Vec<Measured>) {
        self.groups.push(group);
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds with one digit behind the point")]
    fn compared(&self) -> impl Iterator<Item = Compared<'_>> {
        let micros = |nanos: u64| nanos as f64 / 1_000.0;
        self.groups.iter().flat_map(move |group| {
            let median =
                |filter| group.iter().find(|row| row.filter == filter).map(|row| micros(row.median()));
            let (base, lua) = (median(Filter::None).unwrap_or(0.0), median(Filter::Lua));
            group.iter().map(move |row| {
                let added = micros(row.median()) - base;
                let of_lua = lua.map(|lua| added / (lua - base)).filter(|_| row.filter != Filter::None);
                Compared { row, added, of_lua }
            })
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn print(&self) {
        println!("{}\n", self.title);
        println!(
            "| scenario | answered by | HTTP filter | CPU per request, median (least to most) | added | Lua = 1 | p50 / p99 / p99.9 | memory | until ready | callbacks + host calls |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        let micros = |nanos: u64| nanos as f64 / 1_000.0;
        for Compared { row, added, of_lua } in self.compared() {
            let [least, median, most] = row.cpu.map(micros);
            let [p50, p99, p999] = row.latency;
            let of_lua = of_lua.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            let crossings = row.crossings.as_ref().map_or_else(String::new, |crossings| {
                format!("{} + {}", crossings.callbacks.len(), crossings.host_calls.len())
            });
            println!(
                "| {} | {} | {} | {median:.1} us ({least:.1} to {most:.1}) | {added:+.1} us | {of_lua} | {p50} / {p99} / {p999} us | {:.1} MiB | {} ms | {crossings} |",
                row.scenario,
                row.answers.as_str(),
                row.filter.as_str(),
                row.memory as f64 / 1_048_576.0,
                row.start_millis,
            );
        }
        println!();
        for (row, crossings) in
            self.groups.iter().flatten().filter_map(|row| Some((row, row.crossings.as_ref()?)))
        {
            println!(
                "{}, {}: {} asks {}",
                row.scenario,
                row.answers.as_str(),
                crossings.callbacks.join(", "),
                crossings.host_calls.join(", ")
            );
        }
    }

    pub(super) fn json(&self) -> Result<String> {
        let row = |Compared { row, added, of_lua }: Compared<'_>| -> Value {
            let [least, median, most] = row.cpu;
            let [p50, p99, p999] = row.latency;
            let calls = |of: fn(&Crossings) -> &Vec<String>| row.crossings.as_ref().map(of);
            json!({
                "scenario": row.scenario,
                "answeredBy": row.answers.as_str(),
                "filter": row.filter.as_str(),
                "cpuNanosPerRequest": {"least": least, "median": median, "most": most},
                "addedMicros": added,
                "addedLuaIs1": of_lua,
                "latencyMicros": {"p50": p50, "p99": p99, "p999": p999},
                "residentBytes": row.memory,
                "millisUntilReady": u64::try_from(row.start_millis).unwrap_or(u64::MAX),
                "callbacks": calls(|crossings| &crossings.callbacks),
                "hostCalls": calls(|crossings| &crossings.host_calls),
            })
        };
        let rows: Vec<_> = self.compared().map(row).collect();
        Ok(serde_json::to_string_pretty(&json!({"machine": self.title, "rows": rows}))?)
    }

    /// Bars of what each filter adds.
    pub(super) fn svg(&self) -> String {
        let rows: Vec<_> = self.compared().filter(|one| one.row.filter != Filter::None).collect();
        let most = rows.iter().map(|one| one.added).fold(1.0, f64::max);
        let mut bars = String::new();
        let mut y = 40;
        for Compared { row, added, .. } in &rows {
            let width = 420.0 * added.max(0.0) / most;
            let colour = match row.filter {
                Filter::Spillway => "#2563eb",
                Filter::Lua => "#9ca3af",
                Filter::Native | Filter::None => "#d1d5db",
            };
            let name = format!("{}, {}: {}", row.scenario, row.answers.as_str(), row.filter.as_str());
            // Writing to a String does not fail.
            let _ = writeln!(
                bars,
                "<text x=\"430\" y=\"{}\" text-anchor=\"end\">{name}</text>\
                 <rect x=\"440\" y=\"{y}\" width=\"{width:.1}\" height=\"14\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{added:+.1} us</text>",
                y + 11,
                446.0 + width,
                y + 11
            );
            y += if row.filter == Filter::Spillway { 30 } else { 18 };
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 940 {y}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"940\" height=\"{y}\" fill=\"white\"/>\n\
             <text x=\"10\" y=\"20\">CPU time added per request. {}</text>\n{bars}</svg>\n",
            self.title
        )
    }
}
