//! What can be wrong with a rule.

use std::collections::BTreeSet;

use super::{Report, key};
use crate::config::PathSegment::Field;
use crate::config::rule::Rule;
use crate::config::{
    Backoff, CircuitBreaker, Concurrency, Degrade, Override, Pressure, Priority, RateLimit, Response, Slow,
    Trip,
};
use crate::quota::Quota;
use crate::request_match;

/// Names become parts of header values, metric names and store keys.
const MAX_NAME: usize = 63;

/// What is wrong with what rules of all kinds have; `names`: those of the rules of its kind before it.
pub(super) fn check<'p>(report: &mut Report, rule: &'p impl Rule, names: &mut BTreeSet<&'p str>) {
    check_rule_name(report, rule.name(), names);
    key::check_key(report, rule.key());
    check_response(report, rule.response());
}

fn check_response(report: &mut Report, response: Option<&Response>) {
    if let Some(response) = response {
        report.under("response", response.problems());
    }
}

pub(super) fn check_limit(report: &mut Report, limit: &RateLimit) {
    let RateLimit { key, rate, burst, when, cost, overrides, .. } = limit;
    report.under("when", request_match::problems(when));
    if let Some(cost) = cost {
        report.under("cost", cost.problems(Quota::new(*rate, *burst).burst()));
    }
    if key.is_empty() && !overrides.is_empty() {
        report.at(Field("overrides"), |report| report.add("a limit without key has nothing to override"));
    }
    let mut keys = BTreeSet::new();
    report.each("overrides", overrides, |report, Override { key, rate, burst, unlimited }| {
        if key.len() > 256 {
            report.at(Field("key"), |report| {
                report.add("a key of more than 256 bytes is never seen: it is hashed");
            });
        }
        if !keys.insert(key) {
            report.at(Field("key"), |report| report.add(format!("{key:?} has an override already")));
        }
        match (rate, burst, unlimited) {
            (Some(_), _, false) | (None, None, true) => {}
            _ => report.add("expected either a rate, with or without a burst, or unlimited: true"),
        }
    });
}

pub(super) fn check_concurrency(report: &mut Report, Concurrency { max, adaptive, .. }: &Concurrency) {
    match (max, adaptive) {
        (Some(_), None) => {}
        (None, Some(adaptive)) if adaptive.min <= adaptive.max => {}
        (None, Some(adaptive)) => report.at(Field("adaptive"), |report| {
            report.add(format!("min is {}, more than max, which is {}", adaptive.min, adaptive.max));
        }),
        _ => report.add("expected exactly one of max and adaptive"),
    }
}

pub(super) fn check_priority(report: &mut Report, Priority { from, default, levels }: &Priority) {
    report.each("from", from, key::check_alternative);
    let mut known = BTreeSet::new();
    report.each("levels", levels, |report, level| {
        check_name(report, level);
        if !known.insert(level) {
            report.add(format!("{level:?} is there twice"));
        }
    });
    if !levels.contains(default) {
        report.at(Field("default"), |report| report.add(format!("{default:?} is none of the levels")));
    }
}

pub(super) fn check_degrade<'p>(
    report: &mut Report,
    rule: &'p Degrade,
    has_bulkhead: bool,
    names: &mut BTreeSet<&'p str>,
) {
    let Degrade { name, when, shed, admit, only, mode: _, response } = rule;
    check_rule_name(report, name, names);
    check_response(report, response.as_ref());
    report.under("only", request_match::problems(only));
    if shed.is_empty() && admit.is_none() && only.is_empty() {
        report.add("expected shed, admit or only: without any of them it would reject everything");
    }
    report.at(Field("when"), |report| {
        let Pressure { saturation, p99, errors } = when;
        for (field, ratio) in [("saturation", saturation), ("errors", errors)] {
            if ratio.is_some_and(|ratio| ratio.basis_points() == 0) {
                report.at(Field(field), |report| report.add("expected a ratio above 0%"));
            }
        }
        if p99.is_some_and(crate::unit::Duration::is_zero) {
            report.at(Field("p99"), |report| report.add("expected a duration above zero"));
        }
        if saturation.is_some() && !has_bulkhead {
            report.at(Field("saturation"), |report| {
                report.add("the policy has no concurrency rule to measure it by");
            });
        }
        if saturation.is_none() && p99.is_none() && errors.is_none() {
            report.add("expected at least one condition, such as saturation: 80%");
        }
    });
}

pub(super) fn check_breaker(report: &mut Report, breaker: &CircuitBreaker) {
    let CircuitBreaker { window, open_for, trip, backoff, .. } = breaker;
    for (field, duration) in [("window", window), ("openFor", open_for)] {
        if duration.is_zero() {
            report.at(Field(field), |report| report.add("expected a duration above zero"));
        }
    }
    if let Some(Backoff { factor, max }) = backoff {
        report.at(Field("backoff"), |report| {
            if factor.get() > 100 {
                report.at(Field("factor"), |report| report.add(format!("expected 1 to 100, found {factor}")));
            }
            if max < open_for {
                report.at(Field("max"), |report| report.add(format!("{max} is less than openFor")));
            }
        });
    }
    report.at(Field("trip"), |report| {
        let Trip { error_ratio, slow, error_count } = trip;
        if error_ratio.is_none() && slow.is_none() && error_count.is_none() {
            report.add("expected at least one condition, such as errorRatio: 50%");
        }
        let zero = |report: &mut Report, field| {
            report.at(Field(field), |report| report.add("expected a ratio above 0%"));
        };
        if error_ratio.is_some_and(|ratio| ratio.basis_points() == 0) {
            zero(report, "errorRatio");
        }
        if let Some(Slow { over: _, ratio }) = slow
            && ratio.basis_points() == 0
        {
            report.at(Field("slow"), |report| zero(report, "ratio"));
        }
    });
}

fn check_rule_name<'p>(report: &mut Report, name: &'p str, names: &mut BTreeSet<&'p str>) {
    report.at(Field("name"), |report| {
        check_name(report, name);
        if !names.insert(name) {
            report.add(format!("{name:?} is already the name of another rule of this kind in this policy"));
        }
    });
}

pub(super) fn check_name(report: &mut Report, name: &str) {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(allowed) {
        report.add(format!("expected a name of 1 to {MAX_NAME} characters a-z, 0-9 and '-', found {name:?}"));
    }
}
