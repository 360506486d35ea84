//! What all sources say together, as programs read it (`-o json`) and tables show it.

mod histogram;

use std::collections::BTreeMap;

use serde::Serialize;

use self::histogram::Buckets;
use super::meaning::{BREAKER, Meaning, OfBackend, OfRule, Rule};
use super::source::{Series, Source};

/// Numbers of all Envoys together. Rates are a second; one is `null` until there are two samples to compare.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figures {
    /// Envoys that are heard of.
    pub(super) envoys: usize,
    /// Requests that passed through the filter.
    pub(super) requests: Option<f64>,
    pub(super) rejected: Option<f64>,
    pub(super) shadowed: Option<f64>,
    pub(super) routes: Vec<Backend>,
    pub(super) rules: Vec<OneRule>,
    pub(super) breakers: Vec<Breaker>,
}

/// A Backend, and the Routes that lead there: Envoy counts requests by Backend.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the name that programs read")]
pub(super) struct Backend {
    pub(super) backend: String,
    /// The rules of Routes that lead there, as `route/rule`.
    pub(super) routes: Vec<String>,
    pub(super) requests: Option<f64>,
    /// Answers by the hundred of their status: `2` for 200 to 299.
    pub(super) statuses: BTreeMap<u8, Option<f64>>,
    pub(super) retries: Option<f64>,
    pub(super) timeouts: Option<f64>,
    /// Milliseconds within which half of the answers came.
    pub(super) p50: Option<f64>,
    /// Milliseconds within which 99 of 100 answers came.
    pub(super) p99: Option<f64>,
    /// Requests under way.
    pub(super) active: f64,
    /// Endpoints that get requests, counted by each Envoy.
    pub(super) healthy: f64,
    pub(super) endpoints: f64,
    #[serde(skip)]
    within: Buckets,
}

/// A rule of a policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OneRule {
    pub(super) kind: String,
    pub(super) policy: String,
    pub(super) rule: String,
    pub(super) rejected: Option<f64>,
    pub(super) shadowed: Option<f64>,
    /// Requests that a degrade rule gave up.
    pub(super) shed: Option<f64>,
    /// Envoys in which a degrade rule gives up requests now.
    pub(super) sheds_in: Option<f64>,
    pub(super) in_flight: Option<f64>,
    /// The largest of one Envoy, for one key.
    pub(super) limit: Option<f64>,
    /// Of the limit, the most that one key of one Envoy had in use, in percent.
    pub(super) saturation: Option<f64>,
}

/// A rule's breakers: it has one for each key, in each Envoy.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Breaker {
    pub(super) policy: String,
    pub(super) rule: String,
    /// How many are open; `null` where Envoys do not say it.
    pub(super) open: Option<f64>,
    pub(super) half_open: Option<f64>,
    /// How often one opened, half-opened and closed, since the Envoys started.
    pub(super) opened: f64,
    pub(super) half_opened: f64,
    pub(super) closed: f64,
    /// Changes of state a second.
    pub(super) changes: Option<f64>,
    pub(super) rejected: Option<f64>,
}

impl Figures {
    /// What these sources say. `leading` has the rules of Routes that lead to a Backend.
    pub(super) fn of(sources: &[Source], leading: &BTreeMap<String, Vec<String>>) -> Self {
        let mut figures = Self { envoys: sources.iter().map(Source::envoys).sum(), ..Self::default() };
        let (mut backends, mut rules) = (BTreeMap::new(), BTreeMap::new());
        let mut breakers = BTreeMap::new();
        for series in sources.iter().flat_map(Source::series) {
            match &series.meaning {
                Meaning::Requests => add(&mut figures.requests, series.rate),
                Meaning::OfBackend(name, what) => {
                    let backend: &mut Backend = backends.entry(name.clone()).or_default();
                    backend.add(what, series);
                }
                Meaning::OfRule(rule, what) => {
                    match what {
                        OfRule::Rejected => add(&mut figures.rejected, series.rate),
                        OfRule::Shadowed => add(&mut figures.shadowed, series.rate),
                        _ => {}
                    }
                    if rule.kind == BREAKER {
                        let breaker: &mut Breaker = breakers.entry(rule.clone()).or_default();
                        breaker.add(what, series);
                    }
                    let one: &mut OneRule = rules.entry(rule.clone()).or_default();
                    one.add(what, series);
                }
            }
        }
        let with_name = |(name, backend): (String, Backend)| {
            let routes = leading.get(&name).cloned().unwrap_or_default();
            let [p50, p99] = [0.5, 0.99].map(|share| backend.within.quantile(share));
            Backend { backend: name, routes, p50, p99, ..backend }
        };
        figures.routes = backends.into_iter().map(with_name).collect();
        let with_name = |(Rule { kind, policy, rule }, one)| OneRule { kind, policy, rule, ..one };
        figures.rules = rules.into_iter().map(with_name).collect();
        let with_name = |(Rule { kind: _, policy, rule }, one)| Breaker { policy, rule, ..one };
        figures.breakers = breakers.into_iter().map(with_name).collect();
        figures
    }
}

impl Backend {
    fn add(&mut self, what: &OfBackend, series: &Series) {
        match what {
            OfBackend::Requests => add(&mut self.requests, series.rate),
            OfBackend::Class(class) => add(self.statuses.entry(*class).or_default(), series.rate),
            OfBackend::Within(milliseconds) => self.within.add(*milliseconds, series.rate),
            OfBackend::Retries => add(&mut self.retries, series.rate),
            OfBackend::Timeouts => add(&mut self.timeouts, series.rate),
            OfBackend::Active => self.active += series.value,
            OfBackend::Endpoints => self.endpoints += series.value,
            OfBackend::Healthy => self.healthy += series.value,
        }
    }
}

impl OneRule {
    fn add(&mut self, what: &OfRule, series: &Series) {
        let value = Some(series.value);
        match what {
            OfRule::Rejected => add(&mut self.rejected, series.rate),
            OfRule::Shadowed => add(&mut self.shadowed, series.rate),
            OfRule::Shed => add(&mut self.shed, series.rate),
            OfRule::Sheds => add(&mut self.sheds_in, value),
            OfRule::InFlight => add(&mut self.in_flight, value),
            OfRule::Limit => most(&mut self.limit, series.value),
            OfRule::Saturation => most(&mut self.saturation, series.value),
            OfRule::Became(_) | OfRule::Is(_) => {}
        }
    }
}

impl Breaker {
    fn add(&mut self, what: &OfRule, series: &Series) {
        match what {
            OfRule::Rejected => add(&mut self.rejected, series.rate),
            OfRule::Is(state) if state == "open" => add(&mut self.open, Some(series.value)),
            OfRule::Is(state) if state == "half-open" => add(&mut self.half_open, Some(series.value)),
            OfRule::Became(state) => {
                add(&mut self.changes, series.rate);
                match state.as_str() {
                    "open" => self.opened += series.value,
                    "half-open" => self.half_opened += series.value,
                    _ => self.closed += series.value,
                }
            }
            _ => {}
        }
    }
}

/// What is not known of some does not hide what is known of others.
fn add(sum: &mut Option<f64>, value: Option<f64>) {
    if let Some(value) = value {
        *sum = Some(sum.unwrap_or_default() + value);
    }
}

fn most(most: &mut Option<f64>, value: f64) {
    *most = Some(most.map_or(value, |most| most.max(value)));
}

#[cfg(test)]
mod tests;
