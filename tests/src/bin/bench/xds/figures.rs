//! What was measured, as a table for people and as JSON for programs.

use std::cmp::Ordering;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};
use spillway_tests::load::quantile;

use super::board::Board;

/// Rows in the order in which they were measured.
#[derive(Debug, Default)]
pub(super) struct Figures {
    rows: Vec<(String, String)>,
    json: Map<String, Value>,
}

impl Figures {
    /// A row of text, and the same as values.
    fn row(&mut self, name: &str, text: String, value: Value) {
        eprintln!("bench: {name}: {text}");
        self.rows.push((name.to_owned(), text));
        self.json.insert(name.to_owned(), value);
    }

    /// How long something took, for each of many.
    pub(super) fn times(&mut self, name: &str, times: &[Duration]) {
        let of = |share| quantile(times, share).map_or(f64::NAN, milliseconds);
        let (p50, p99, most) = (of(0.5), of(0.99), of(1.0));
        self.row(
            name,
            format!("p50 {p50:.0} ms, p99 {p99:.0} ms, most {most:.0} ms"),
            json!({ "count": times.len(), "p50_ms": p50, "p99_ms": p99, "max_ms": most }),
        );
    }

    /// CPU time of the server, where it is known.
    pub(super) fn cpu(&mut self, name: &str, before: Option<u64>, after: Option<u64>) {
        if let (Some(before), Some(after)) = (before, after) {
            let millis = (after - before) / 1_000;
            self.row(
                &format!("{name}: CPU time of the server"),
                format!("{millis} ms"),
                json!({ "cpu_ms": millis }),
            );
        }
    }

    /// Memory of the server with and without streams.
    pub(super) fn memory(&mut self, before: Option<u64>, after: Option<u64>, streams: usize) {
        if let (Some(before), Some(after)) = (before, after) {
            let each = after.saturating_sub(before) / u64::try_from(streams).unwrap_or(1);
            self.row(
                "memory for each stream",
                format!(
                    "{:.1} KiB ({} MiB without streams, {} MiB with {streams})",
                    kibibytes(each),
                    before >> 20,
                    after >> 20
                ),
                json!({ "bytes_per_stream": each, "base_bytes": before, "bytes": after }),
            );
        }
    }

    /// Memory of the server later on.
    pub(super) fn peak(&mut self, memory: Option<u64>) {
        if let Some(memory) = memory {
            let name = format!("memory after {}", self.rows.len());
            let last = self.rows.last().map_or(String::new(), |(name, _)| name.clone());
            self.json.insert(name, json!({ "after": last, "bytes": memory }));
            eprintln!("bench: memory of the server now: {} MiB", memory >> 20);
        }
    }

    /// CPU time of the same with and without telemetry, a pair a round: medians, and the median of what it adds in a round.
    pub(super) fn telemetry(&mut self, name: &str, off: &[Duration], on: &[Duration]) {
        let [off_median, on_median] =
            [off, on].map(|all| milliseconds(median(all.to_vec()).unwrap_or_default()));
        let ratios = off.iter().zip(on).map(|(off, on)| on.as_secs_f64() / off.as_secs_f64());
        let added = (median(ratios.collect::<Vec<f64>>()).unwrap_or(f64::NAN) - 1.0) * 100.0;
        self.row(
            name,
            format!("{off_median:.1} ms without, {on_median:.1} ms with: {added:+.1} %"),
            json!({ "rounds": off.len(), "off_ms": off_median, "on_ms": on_median, "added_percent": added }),
        );
    }

    /// The share of a core that servers without and with telemetry take while nothing happens.
    pub(super) fn idle(&mut self, shares: &[f64]) {
        let percents: Vec<_> = shares.iter().map(|share| share * 100.0).collect();
        let texts: Vec<_> = percents.iter().map(|percent| format!("{percent:.2} %")).collect();
        self.row(
            "telemetry: share of a core without edits",
            format!("{} with", texts.join(" without, ")),
            json!({ "percents_of_a_core": percents }),
        );
    }

    /// How many of all.
    pub(super) fn share(&mut self, name: &str, count: usize, all: usize) {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let percent = count as f64 / all.max(1) as f64 * 100.0;
        self.row(name, format!("{count} of {all} ({percent:.0} %)"), json!({ "count": count, "of": all }));
    }

    /// A plain count.
    pub(super) fn count(&mut self, name: &str, count: u64) {
        self.row(name, count.to_string(), json!(count));
    }

    /// A flow of edits.
    pub(super) fn churn(
        &mut self,
        board: &Board,
        edits: u32,
        took: Duration,
        cpu: Duration,
        rest: Duration,
        streams: usize,
    ) {
        let rate = f64::from(edits) / took.as_secs_f64();
        let share = cpu.as_secs_f64() / took.as_secs_f64() * 100.0;
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| milliseconds(board.latency(share)));
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let pushed = board.arrivals() as f64 / (f64::from(edits) * streams as f64) * 100.0;
        self.row(
            "churn",
            format!("{edits} edits of endpoints, {rate:.0} a second, {streams} streams; {pushed:.0} % of the edits arrived one by one"),
            json!({ "edits": edits, "edits_per_second": rate, "streams": streams, "arrived_percent": pushed }),
        );
        self.row(
            "churn: edit to a stream's acknowledgement",
            format!("p50 {p50:.0} ms, p99 {p99:.0} ms, most {most:.0} ms"),
            json!({ "p50_ms": p50, "p99_ms": p99, "max_ms": most }),
        );
        let rest = milliseconds(rest);
        self.row("churn: all done after the last edit", format!("{rest:.0} ms"), json!({ "ms": rest }));
        self.row(
            "churn: CPU of the server",
            format!("{share:.0} % of one core"),
            json!({ "percent_of_a_core": share }),
        );
    }

    /// Prints all of it.
    pub(super) fn print(self) -> Result<()> {
        println!("| | |\n|---|---|");
        for (name, text) in &self.rows {
            println!("| {name} | {text} |");
        }
        println!("\n{}", serde_json::to_string(&Value::from(self.json))?);
        Ok(())
    }
}

/// The one in the middle.
fn median<T>(mut all: Vec<T>) -> Option<T>
where
    T: Copy + PartialOrd,
{
    all.sort_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
    all.get(all.len() / 2).copied()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "bytes of one stream")]
fn kibibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_024.0
}
