//! One source of metrics: what it said last, and how fast its counters grow.
//!
//! A rate is the difference of two samples over the time between them, as Prometheus' `rate` has it: a counter that has become smaller began
//! anew. A Prometheus hands on samples that it took earlier; they say when, and until a newer one comes the rate stays as it was.

use std::collections::HashMap;

use super::meaning::Meaning;
use crate::exposition::{Malformed, samples};

/// The label by which a Prometheus tells Envoys apart. An Envoy itself does not say it.
const INSTANCE: &str = "instance";

/// A source.
#[derive(Debug)]
pub(super) struct Source {
    /// As it is called on the screen.
    pub(super) name: String,
    series: HashMap<String, Series>,
    /// When each Envoy was last heard of, in seconds.
    envoys: HashMap<String, f64>,
    state: State,
}

/// How it is with somebody who is asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum State {
    /// There has been no answer yet.
    #[default]
    Asked,
    Answered,
    /// It does not answer: since when, in seconds, and why.
    Away(f64, String),
}

/// What a series says.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) meaning: Meaning,
    pub(super) value: f64,
    /// By how much it grows a second; unknown until there are two samples of it.
    pub(super) rate: Option<f64>,
    envoy: String,
    /// In seconds, by the clock of whoever said it.
    at: f64,
}

impl State {
    /// There was no answer, for this reason.
    pub(super) fn miss(&mut self, reason: &str, now: f64) {
        let since = if let Self::Away(since, _) = self { *since } else { now };
        *self = Self::Away(since, reason.to_owned());
    }
}

impl Source {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), series: HashMap::new(), envoys: HashMap::new(), state: State::default() }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// It has answered with this text at this time, in seconds. A text that is wrong anywhere counts as no answer.
    pub(super) fn take(&mut self, text: &str, now: f64) {
        match self.read(text, now) {
            Ok(()) => self.state = State::Answered,
            Err(error) => self.miss(&format!("says something else than metrics: {error}"), now),
        }
    }

    /// It has not answered. What it said last is kept to compare with, but counts for nothing.
    pub(super) fn miss(&mut self, reason: &str, now: f64) {
        self.state.miss(reason, now);
    }

    /// What it said last, if that is still so.
    pub(super) fn series(&self) -> impl Iterator<Item = &Series> {
        let answers = self.state == State::Answered;
        self.series.values().filter(move |_| answers)
    }

    /// How many Envoys it speaks of.
    pub(super) fn envoys(&self) -> usize {
        if self.state == State::Answered { self.envoys.len() } else { 0 }
    }

    fn read(&mut self, text: &str, now: f64) -> Result<(), Malformed> {
        let all: Vec<_> = samples(text).collect::<Result<_, _>>()?;
        let (mut series, mut envoys) = (HashMap::new(), HashMap::new());
        for sample in all {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^52")]
            let at = sample.timestamp.map_or(now, |milliseconds| milliseconds as f64 / 1_000.0);
            let before = self.series.remove(sample.series);
            let (meaning, envoy) = if let Some(before) = &before {
                (before.meaning.clone(), before.envoy.clone())
            } else {
                let Some(labels) = sample.labels() else { continue };
                let Some(meaning) = Meaning::of(sample.name, &labels) else { continue };
                (meaning, labels.get(INSTANCE).cloned().unwrap_or_default())
            };
            let rate = if meaning.is_gauge() {
                None
            } else if let Some(before) = before {
                before.rate_until(sample.value, at)
            } else {
                // An Envoy writes a counter down when it is first used: it was 0 when we heard of that Envoy last.
                self.envoys.get(&envoy).and_then(|then| rate(sample.value, at - then))
            };
            let last: &mut f64 = envoys.entry(envoy.clone()).or_insert(at);
            *last = last.max(at);
            series.insert(sample.series.to_owned(), Series { meaning, value: sample.value, rate, envoy, at });
        }
        (self.series, self.envoys) = (series, envoys);
        Ok(())
    }
}

impl Series {
    fn rate_until(&self, value: f64, at: f64) -> Option<f64> {
        if at <= self.at {
            return self.rate;
        }
        let grown = if value < self.value { value } else { value - self.value };
        rate(grown, at - self.at)
    }
}

fn rate(grown: f64, seconds: f64) -> Option<f64> {
    let rate = grown / seconds;
    (seconds > 0.0 && rate.is_finite()).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(source: &Source) -> Vec<Option<f64>> {
        let mut series: Vec<_> = source.series.iter().collect();
        series.sort_by_key(|(name, _)| name.as_str());
        series.into_iter().map(|(_, series)| series.rate).collect()
    }

    #[test]
    fn counters_have_a_rate_from_the_second_sample_on() {
        let mut source = Source::new("a");
        assert_eq!(source.state(), &State::Asked);
        source.take("spillway_requests 100", 1.0);
        assert_eq!((rates(&source), source.envoys()), (vec![None], 1));
        source.take("spillway_requests 150", 3.0);
        assert_eq!(rates(&source), [Some(25.0)]);
        // Nothing else is of interest, and what is gone is gone.
        source.take("envoy_server_uptime 5\nspillway_requests{x} 1", 4.0);
        assert_eq!(rates(&source), []);
    }

    #[test]
    fn a_counter_that_began_anew_counts_from_nothing() {
        let mut source = Source::new("a");
        source.take("spillway_requests 100", 1.0);
        source.take("spillway_requests 30", 4.0);
        assert_eq!(rates(&source), [Some(10.0)]);
    }

    #[test]
    fn a_counter_that_is_new_of_a_known_envoy_was_at_nothing() {
        let mut source = Source::new("a");
        let old = "spillway_requests{instance=\"a\"} 1 1000\n";
        source.take(old, 0.0);
        let new = "spillway_requests{instance=\"a\"} 1 3000\n\
                   spillway_rejected{instance=\"a\",kind=\"k\",policy=\"p\",rule=\"r\"} 8 3000\n\
                   spillway_requests{instance=\"b\"} 900 3000\n";
        source.take(new, 0.0);
        assert_eq!(rates(&source), [Some(4.0), Some(0.0), None]);
        assert_eq!(source.envoys(), 2);
    }

    #[test]
    fn a_sample_that_was_handed_on_before_changes_nothing() {
        let mut source = Source::new("a");
        for (value, at) in [(100, 15_000), (130, 30_000)] {
            source.take(&format!("spillway_requests {value} {at}"), 0.0);
        }
        assert_eq!(rates(&source), [Some(2.0)]);
        source.take("spillway_requests 130 30000", 2.0);
        assert_eq!(rates(&source), [Some(2.0)]);
        source.take("spillway_requests 130 45000", 4.0);
        assert_eq!(rates(&source), [Some(0.0)]);
    }

    #[test]
    fn a_source_that_was_away_goes_on_where_it_was() {
        let mut source = Source::new("a");
        source.take("spillway_requests 100", 1.0);
        source.miss("connection refused", 2.0);
        source.miss("no answer", 3.0);
        assert_eq!(source.state(), &State::Away(2.0, "no answer".into()));
        assert_eq!((source.series().count(), source.envoys()), (0, 0));
        source.take("spillway_requests 140", 5.0);
        assert_eq!(source.series().map(|series| series.rate).collect::<Vec<_>>(), [Some(10.0)]);
        // Half an answer is none.
        source.take("spillway_requests 150\n<html>", 6.0);
        let reason = "says something else than metrics: line 2 is not of Prometheus' text format".to_owned();
        assert_eq!(source.state(), &State::Away(6.0, reason));
        source.take("spillway_requests 160", 7.0);
        assert_eq!(rates(&source), [Some(10.0)]);
    }

    #[test]
    fn gauges_have_a_value_and_no_rate() {
        let mut source = Source::new("a");
        for now in [1.0, 2.0] {
            source.take("envoy_cluster_membership_total{envoy_cluster_name=\"b\"} 3", now);
        }
        assert_eq!(rates(&source), [None]);
    }
}
