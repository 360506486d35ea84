//! Metrics as values, and in the text format of Prometheus:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::histogram::{BOUNDS, Histogram, Times};

/// Families of metrics, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Families(pub(crate) Vec<Family>);

/// What is counted under one name.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) sort: Sort,
    pub(crate) help: &'static str,
    pub(crate) samples: Vec<Sample>,
}

/// What a family's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// They are times, counted by their length.
    Histogram,
}

/// One value.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: Value,
}

/// What a sample says.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Number(f64),
    Times(Arc<Histogram>),
}

impl Families {
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> Adding<'_> {
        self.family(name, Sort::Counter, help)
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> Adding<'_> {
        self.family(name, Sort::Gauge, help)
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &'static str) -> Adding<'_> {
        self.family(name, Sort::Histogram, help)
    }

    /// Begins a family; its samples follow.
    fn family(&mut self, name: &'static str, sort: Sort, help: &'static str) -> Adding<'_> {
        self.0.push(Family { name, sort, help, samples: Vec::new() });
        let at = self.0.len() - 1;
        Adding { family: self.0.get_mut(at) }
    }

    /// As Prometheus reads them.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Family { name, sort, help, samples } in &self.0 {
            let sort = match sort {
                Sort::Counter => "counter",
                Sort::Gauge => "gauge",
                Sort::Histogram => "histogram",
            };
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {sort}");
            for Sample { labels, value } in samples {
                match value {
                    Value::Number(number) => line(&mut text, name, "", labels, None, *number),
                    Value::Times(times) => histogram(&mut text, name, labels, &times.read()),
                }
            }
        }
        text
    }
}

/// A family that samples are added to.
pub(super) struct Adding<'a> {
    family: Option<&'a mut Family>,
}

impl Adding<'_> {
    pub(super) fn sample(&mut self, labels: &[(&'static str, &str)], value: impl Into<Value>) -> &mut Self {
        if let Some(family) = &mut self.family {
            let labels = labels.iter().map(|(label, value)| (*label, (*value).to_owned())).collect();
            family.samples.push(Sample { labels, value: value.into() });
        }
        self
    }
}

fn histogram(text: &mut String, name: &str, labels: &[(&'static str, String)], times: &Times) {
    let Times { at_most, count, sum } = times;
    for (bound, below) in BOUNDS.iter().zip(at_most) {
        let bound = (number(*bound) / 1_000.0).to_string();
        line(text, name, "_bucket", labels, Some(&bound), number(*below));
    }
    line(text, name, "_bucket", labels, Some("+Inf"), number(*count));
    line(text, name, "_sum", labels, None, sum.as_secs_f64());
    line(text, name, "_count", labels, None, number(*count));
}

fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&'static str, String)],
    at_most: Option<&str>,
    value: f64,
) {
    let _ = write!(text, "{name}{suffix}");
    let labels = labels.iter().map(|(label, value)| (*label, value.as_str()));
    let mut before = '{';
    for (label, value) in labels.chain(at_most.map(|bound| ("le", bound))) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{before}{label}=\"{value}\"");
        before = ',';
    }
    let _ = writeln!(text, "{} {value}", if before == '{' { "" } else { "}" });
}

#[expect(clippy::cast_precision_loss, reason = "counts, which the format has as floating point too")]
fn number(count: u64) -> f64 {
    count as f64
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Number(number(value))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        let size = number(value.unsigned_abs());
        Self::Number(if value < 0 { -size } else { size })
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        u64::try_from(value).unwrap_or(u64::MAX).into()
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        u64::from(value).into()
    }
}

impl From<&Arc<Histogram>> for Value {
    fn from(value: &Arc<Histogram>) -> Self {
        Self::Times(Arc::clone(value))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut families = Families::default();
        families.gauge("g", "Help.").sample(&[], 1_u64).sample(&[("a", "x\"y\\z\n"), ("b", "")], 2.5);
        let expected = "# HELP g Help.\n# TYPE g gauge\ng 1\ng{a=\"x\\\"y\\\\z\\n\",b=\"\"} 2.5\n";
        assert_eq!(families.text(), expected);
    }

    #[test]
    fn a_histogram_has_a_line_for_each_bound() {
        let times = Arc::new(Histogram::default());
        times.observe(Duration::from_millis(3));
        let mut families = Families::default();
        families.histogram("h_seconds", "Help.").sample(&[("type", "Route")], &times);
        let text = families.text();
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 1 + BOUNDS.len() + 3);
        assert_eq!(
            [lines[0], lines[1], lines[3], lines[14], lines[15], lines[16]],
            [
                "# TYPE h_seconds histogram",
                "h_seconds_bucket{type=\"Route\",le=\"0.001\"} 0",
                "h_seconds_bucket{type=\"Route\",le=\"0.005\"} 1",
                "h_seconds_bucket{type=\"Route\",le=\"+Inf\"} 1",
                "h_seconds_sum{type=\"Route\"} 0.003",
                "h_seconds_count{type=\"Route\"} 1",
            ]
        );
    }
}
