//! Counters, collected here and handed to the host in bunches: a request that is counted costs no host call.

use std::collections::HashMap;
use std::fmt::{self, Write};

use spillway_policy::config::{Configuration, Mode};
use spillway_policy::engine::{BreakerState, Kind, Reject, Transition};

use crate::host::{Counter, Host, Level};

/// The host never forgets a metric, so a configuration that is edited for ever, with new names each time, must find an end.
const MOST: usize = 4096;

/// What has been counted since the last [`Metrics::flush`], by the metric's name.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Slot,
    named: HashMap<Box<str>, Slot>,
    full: bool,
    /// Reused for the names, so that counting allocates only once a name.
    name: String,
}

#[derive(Debug, Default)]
struct Slot {
    pending: u32,
    counter: Option<Counter>,
}

impl Metrics {
    /// Defines all that this configuration can count, so that each metric is there, at 0, before it first counts, and so that the values
    /// outlive a VM: the host drops a counter with the last VM that defined it, and a new VM is configured before the old one ends.
    pub(crate) fn announce<H: Host>(&mut self, configuration: &Configuration, host: &H) {
        self.requests.define(host, "spillway_requests");
        for policy in &configuration.policies {
            let name = &policy.name;
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
        }
        for (name, slot) in &mut self.named {
            slot.define(host, name);
        }
    }

    /// A request has come.
    pub(crate) fn request(&mut self) {
        self.requests.pending = self.requests.pending.saturating_add(1);
    }

    /// A request was answered here.
    pub(crate) fn rejected(&mut self, reject: &Reject<'_>) {
        let Reject { kind, policy, rule, .. } = *reject;
        self.add(format_args!("spillway_rejected.kind.{}.policy.{policy}.rule.{rule}", kind.as_str()), 1);
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

    fn add(&mut self, name: fmt::Arguments<'_>, by: u32) {
        self.name.clear();
        // Writing to a String does not fail.
        if self.name.write_fmt(name).is_err() {
            return;
        }
        if let Some(slot) = self.named.get_mut(self.name.as_str()) {
            slot.pending = slot.pending.saturating_add(by);
        } else if self.named.len() < MOST {
            self.named.insert(self.name.as_str().into(), Slot { pending: by, counter: None });
        } else {
            self.full = true;
        }
    }

    /// Hands everything to the host.
    pub(crate) fn flush<H: Host>(&mut self, host: &H) {
        self.requests.flush(host, "spillway_requests");
        for (name, slot) in &mut self.named {
            slot.flush(host, name);
        }
        if std::mem::take(&mut self.full) {
            host.log(
                Level::Warn,
                "spillway: too many different rules since Envoy started: new ones are not counted",
            );
        }
    }
}

impl Slot {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;

    const REJECT: Reject<'static> = Reject {
        kind: Kind::RateLimit,
        policy: "orders",
        rule: "per-tenant",
        status: 429,
        grpc_status: 8,
        retry_after_secs: 1,
        body: None,
        headers: &[],
    };

    #[test]
    fn counts_travel_together_and_each_metric_is_defined_once() {
        let (host, mut metrics) = (Fake::default(), Metrics::default());
        metrics.flush(&host);
        assert_eq!(host.calls(), [""; 0], "what was never counted does not exist");

        for _ in 0..3 {
            metrics.request();
            metrics.rejected(&REJECT);
        }
        metrics.flush(&host);
        metrics.request();
        metrics.flush(&host);
        assert_eq!(host.counter("spillway_requests"), 4);
        assert_eq!(host.counter("spillway_rejected.kind.rate-limit.policy.orders.rule.per-tenant"), 3);
        assert_eq!(host.calls().iter().filter(|call| call.starts_with("define")).count(), 2);
    }

    #[test]
    fn what_a_configuration_can_count_is_there_before_it_counts() {
        let (host, mut metrics) = (Fake::default(), Metrics::default());
        let json = br#"{"policies": [{"name": "orders",
            "rateLimits": [{"name": "per-tenant", "rate": "1/s"}, {"name": "trial", "rate": "1/s", "mode": "shadow"}],
            "circuitBreakers": [{"name": "backend", "window": "10s", "minRequests": 1, "trip": {"errorRatio": "50%"}, "openFor": "1s", "probes": 1}]}]}"#;
        metrics.announce(&Configuration::parse(json).unwrap(), &host);
        for name in [
            "spillway_requests",
            "spillway_rejected.kind.rate-limit.policy.orders.rule.per-tenant",
            "spillway_shadowed.kind.rate-limit.policy.orders.rule.trial",
            "spillway_rejected.kind.circuit-breaker.policy.orders.rule.backend",
            "spillway_breaker.policy.orders.rule.backend.to.open",
            "spillway_breaker.policy.orders.rule.backend.to.half-open",
            "spillway_breaker.policy.orders.rule.backend.to.closed",
        ] {
            assert!(host.is_defined(name), "{name}");
        }
        assert_eq!(host.counters(), 7);
        // Counting and another configuration define nothing again.
        metrics.rejected(&REJECT);
        metrics.flush(&host);
        metrics.announce(&Configuration::parse(json).unwrap(), &host);
        assert_eq!(host.calls().iter().filter(|call| call.starts_with("define")).count(), 7);
    }

    #[test]
    fn names_are_bounded() {
        let (host, mut metrics) = (Fake::default(), Metrics::default());
        for rule in 0..=MOST {
            metrics.rejected(&Reject { rule: &format!("r{rule}"), ..REJECT });
        }
        metrics.flush(&host);
        assert_eq!(host.counters(), MOST);
        assert!(host.logged().contains("not counted"), "{}", host.logged());
    }
}
