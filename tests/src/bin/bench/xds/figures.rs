//! What was measured, as a table for people and as JSON for programs.

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

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "bytes of one stream")]
fn kibibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_024.0
}
