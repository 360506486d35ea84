//! Counters and gauges, collected here and handed to the host in bunches: a request that is counted costs no host call.

use std::collections::HashMap;
use std::fmt::{self, Write};

use spillway_policy::config::{Configuration, Mode, Policy};
use spillway_policy::engine::{BreakerState, Kind, Reading, Reject, Transition};

use crate::host::{Counter, Gauge, Host, Level};

/// The host never forgets a metric, so a configuration that is edited for ever, with new names each time, must find an end.
const MOST: usize = 4096;

/// So many of them may be gauges, so that there is room to count what rules reject, whatever they show.
const MOST_GAUGES: usize = MOST / 2;

/// The level of requests that have none.
const ALL_LEVELS: &str = "all";

/// What has been counted since the last [`Metrics::flush`], and how things stand, by the metric's name.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Count,
    named: HashMap<Box<str>, Metric>,
    /// How many of these are gauges.
    gauges: usize,
    /// More was to be shown than may be, since the last configuration, and whether that was said.
    full: Option<bool>,
    /// Reused for the names, so that counting allocates only once a name.
    name: String,
}

#[derive(Debug)]
enum Metric {
    Count(Count),
    Standing(Standing),
}

#[derive(Debug, Default)]
struct Count {
    pending: u32,
    counter: Option<Counter>,
}

/// How something stands. All workers show the same, so the last one is right.
#[derive(Debug, Default)]
struct Standing {
    value: u64,
    /// The host is to be told.
    is_news: bool,
    /// The root context whose configuration has the rule; `None`: it was shown as gone.
    root: Option<u32>,
    gauge: Option<Gauge>,
}

impl Metrics {
    /// Defines all that this configuration can count and show, so that each metric is there, at 0, before it first counts, and so that the values
    /// outlive a VM: the host drops a metric with the last VM that defined it, and a new VM is configured before the old one ends.
    pub(crate) fn announce<H: Host>(&mut self, root: u32, configuration: &Configuration, host: &H) {
        self.full = None;
        self.requests.define(host, "spillway_requests");
        self.add(format_args!("spillway_store_retries"), 0);
        for policy in &configuration.policies {
            self.announce_counters(policy);
        }
        // Where there is no room for all, counters come first: what is rejected matters most.
        for policy in &configuration.policies {
            self.announce_gauges(root, policy);
        }
        for (name, metric) in &mut self.named {
            match metric {
                Metric::Count(count) => count.define(host, name),
                Metric::Standing(standing) => standing.define(host, name),
            }
        }
    }

    fn announce_counters(&mut self, policy: &Policy) {
        let name = &*policy.name;
        for (kind, rule, mode) in policy.rules() {
            let outcome = if mode == Mode::Shadow { "shadowed" } else { "rejected" };
            let kind_name = kind.as_str();
            self.add(format_args!("spillway_{outcome}.kind.{kind_name}.policy.{name}.rule.{rule}"), 0);
            if kind == Kind::CircuitBreaker {
                for to in BreakerState::ALL {
                    self.add(
                        format_args!("spillway_breaker.policy.{name}.rule.{rule}.to.{}", to.as_str()),
                        0,
                    );
                }
            }
        }
        for rule in policy.degrade.iter().filter(|rule| rule.mode != Mode::Shadow) {
            let of_policy = policy.priority.as_ref().map(|priority| priority.levels.as_slice());
            // Where the levels are another policy's, they are defined when they first count.
            let levels = if rule.shed.is_empty() { of_policy.unwrap_or_default() } else { &rule.shed };
            for level in levels {
                self.shed(name, &rule.name, level, 0);
            }
            if levels.is_empty() {
                self.shed(name, &rule.name, ALL_LEVELS, 0);
            }
        }
    }

    fn announce_gauges(&mut self, root: u32, policy: &Policy) {
        let name = &*policy.name;
        for (kind, rule, _) in policy.rules() {
            let reading = match kind {
                Kind::RateLimit => continue,
                Kind::CircuitBreaker => Reading::Breakers { policy: name, rule, open: 0, half_open: 0 },
                Kind::Concurrency => {
                    Reading::Concurrency { policy: name, rule, in_flight: 0, limit: 0, saturation: 0 }
                }
                Kind::Degrade => Reading::Degrade { policy: name, rule, in_force: false },
            };
            // Another worker may have shown how it stands.
            self.stand(root, &reading, false);
        }
    }

    /// A request has come.
    pub(crate) fn request(&mut self) {
        self.requests.pending = self.requests.pending.saturating_add(1);
    }

    /// A request was answered here.
    pub(crate) fn rejected(&mut self, reject: &Reject<'_>) {
        let Reject { kind, policy, rule, level, .. } = *reject;
        self.add(format_args!("spillway_rejected.kind.{}.policy.{policy}.rule.{rule}", kind.as_str()), 1);
        if kind == Kind::Degrade {
            self.shed(policy, rule, level.unwrap_or(ALL_LEVELS), 1);
        }
    }

    fn shed(&mut self, policy: &str, rule: &str, level: &str, by: u32) {
        self.add(format_args!("spillway_shed.policy.{policy}.rule.{rule}.level.{level}"), by);
    }

    /// A rule in shadow mode would have answered a request here.
    pub(crate) fn shadowed(&mut self, reject: &Reject<'_>) {
        let Reject { kind, policy, rule, .. } = *reject;
        self.add(format_args!("spillway_shadowed.kind.{}.policy.{policy}.rule.{rule}", kind.as_str()), 1);
    }

    /// A breaker has changed its state.
    pub(crate) fn transition(&mut self, transition: &Transition) {
        let Transition { policy, rule, to } = transition;
        self.add(format_args!("spillway_breaker.policy.{policy}.rule.{rule}.to.{}", to.as_str()), 1);
    }

    /// Rules were passed over because the shared store failed.
    pub(crate) fn store_failures(&mut self, count: u64) {
        if count > 0 {
            self.add(format_args!("spillway_store_failures"), u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Writes of shared data that another worker was faster with.
    pub(crate) fn store_retries(&mut self, count: u32) {
        if count > 0 {
            self.add(format_args!("spillway_store_retries"), count);
        }
    }

    /// A rule of this root context's configuration stands like this.
    pub(crate) fn show(&mut self, root: u32, reading: &Reading<'_>) {
        self.stand(root, reading, true);
    }

    fn stand(&mut self, root: u32, reading: &Reading<'_>, is_known: bool) {
        let mut set = |name: fmt::Arguments<'_>, value: u32| self.set(root, name, is_known.then_some(value));
        match *reading {
            Reading::Breakers { policy, rule, open, half_open } => {
                for (state, count) in [(BreakerState::Open, open), (BreakerState::HalfOpen, half_open)] {
                    let state = state.as_str();
                    let name =
                        format_args!("spillway_breaker_state.policy.{policy}.rule.{rule}.state.{state}");
                    set(name, count);
                }
            }
            Reading::Concurrency { policy, rule, in_flight, limit, saturation } => {
                set(format_args!("spillway_in_flight.policy.{policy}.rule.{rule}"), in_flight);
                set(format_args!("spillway_concurrency_limit.policy.{policy}.rule.{rule}"), limit);
                set(format_args!("spillway_saturation_percent.policy.{policy}.rule.{rule}"), saturation);
            }
            Reading::Degrade { policy, rule, in_force } => {
                let name = format_args!("spillway_degrade_in_force.policy.{policy}.rule.{rule}");
                set(name, u32::from(in_force));
            }
        }
    }

    /// The metric of this name, `new` if there is none yet; `None` if there is no room for one more.
    fn metric(&mut self, name: fmt::Arguments<'_>, new: fn() -> Metric) -> Option<&mut Metric> {
        self.name.clear();
        // Writing to a String does not fail.
        self.name.write_fmt(name).ok()?;
        let name = self.name.as_str();
        if !self.named.contains_key(name) {
            let new = new();
            let is_gauge = matches!(new, Metric::Standing(_));
            if self.named.len() >= MOST || is_gauge && self.gauges >= MOST_GAUGES {
                self.full.get_or_insert(false);
                return None;
            }
            self.gauges += usize::from(is_gauge);
            self.named.insert(name.into(), new);
        }
        self.named.get_mut(name)
    }

    fn add(&mut self, name: fmt::Arguments<'_>, by: u32) {
        if let Some(Metric::Count(count)) = self.metric(name, || Metric::Count(Count::default())) {
            count.pending = count.pending.saturating_add(by);
        }
    }

    fn set(&mut self, root: u32, name: fmt::Arguments<'_>, value: Option<u32>) {
        let Some(Metric::Standing(standing)) = self.metric(name, || Metric::Standing(Standing::default()))
        else {
            return;
        };
        standing.root = Some(root);
        if let Some(value) = value {
            // Told each time: another worker may have said something older since.
            (standing.value, standing.is_news) = (u64::from(value), true);
        }
    }

    /// Other configurations are in force: rules that only others had are no more.
    pub(crate) fn keep(&mut self, is_in_force: impl Fn(u32) -> bool) {
        for metric in self.named.values_mut() {
            if let Metric::Standing(standing) = metric
                && standing.root.is_some_and(|root| !is_in_force(root))
            {
                (standing.value, standing.is_news, standing.root) = (0, true, None);
            }
        }
    }

    /// Hands everything to the host.
    pub(crate) fn flush<H: Host>(&mut self, host: &H) {
        self.requests.flush(host, "spillway_requests");
        for (name, metric) in &mut self.named {
            match metric {
                Metric::Count(count) => count.flush(host, name),
                Metric::Standing(standing) => standing.flush(host, name),
            }
        }
        if self.full == Some(false) {
            self.full = Some(true);
            host.log(
                Level::Warn,
                "spillway: too many different rules since Envoy started: new ones are not counted",
            );
        }
    }
}

impl Count {
    fn define<H: Host>(&mut self, host: &H, name: &str) {
        if self.counter.is_none() {
            self.counter = host.define_counter(name).ok();
        }
    }

    fn flush<H: Host>(&mut self, host: &H, name: &str) {
        if self.pending == 0 {
            return;
        }
        self.define(host, name);
        if let Some(counter) = self.counter
            && host.increment(counter, self.pending).is_ok()
        {
            self.pending = 0;
        }
    }
}

impl Standing {
    fn define<H: Host>(&mut self, host: &H, name: &str) {
        if self.gauge.is_none() {
            self.gauge = host.define_gauge(name).ok();
        }
    }

    fn flush<H: Host>(&mut self, host: &H, name: &str) {
        if !self.is_news {
            return;
        }
        self.define(host, name);
        if let Some(gauge) = self.gauge
            && host.record(gauge, self.value).is_ok()
        {
            self.is_news = false;
        }
    }
}

#[cfg(test)]
mod tests;
