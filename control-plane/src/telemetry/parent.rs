//! The trace that a request to the admin API is part of.

use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// The header that says what a request is part of.
pub const TRACEPARENT: &str = "traceparent";

/// What a request's `traceparent` and `tracestate` say (<https://www.w3.org/TR/trace-context/>). What can't be understood says nothing.
#[derive(Debug, Clone, Default)]
pub struct Parent(Option<SpanContext>);

impl Parent {
    /// Of a request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        // Without the header, as nearly all are, nothing is put together.
        if !headers.contains_key(TRACEPARENT) {
            return Self::default();
        }
        let context =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let parent = context.span().span_context().clone();
        Self(parent.is_valid().then_some(parent))
    }

    /// The header for requests of a program that was started with this as the `TRACEPARENT` of its environment
    /// (<https://opentelemetry.io/docs/specs/otel/context/env-carriers/>), if it is a traceparent.
    pub fn header(variable: &str) -> Option<HeaderValue> {
        let value = HeaderValue::from_str(variable).ok()?;
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, value.clone());
        Self::of(&headers).0.map(|_| value)
    }

    /// What it says if its trace is not recorded.
    pub(super) fn unrecorded(&self) -> Option<&SpanContext> {
        self.0.as_ref().filter(|parent| !parent.is_sampled())
    }

    /// Where a span that is part of it begins.
    pub(super) fn context(&self) -> Context {
        let parent = self.0.as_ref();
        parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(value: &str) -> Option<String> {
        let headers = [(http::header::HeaderName::from_static("traceparent"), value.parse().unwrap())];
        let Parent(parent) = Parent::of(&HeaderMap::from_iter(headers));
        parent.map(|of| format!("{}-{}-{}", of.trace_id(), of.span_id(), of.is_sampled()))
    }

    #[test]
    fn only_what_is_a_traceparent_counts() {
        let trace = "80f198ee56343ba864fe8b2a57d3eff7";
        let span = "e457b5a2e4d86bd1";
        let expected = |sampled| Some(format!("{trace}-{span}-{sampled}"));
        assert_eq!(parent(&format!("00-{trace}-{span}-01")), expected(true));
        assert_eq!(parent(&format!("00-{trace}-{span}-00")), expected(false));
        for wrong in [
            "",
            "x",
            "00-0-0-01",
            &format!("00-{}-{span}-01", "0".repeat(32)),
            &format!("ff-{trace}-{span}-01"),
        ] {
            assert_eq!(parent(wrong), None, "{wrong}");
            assert_eq!(Parent::header(wrong), None, "{wrong}");
        }
        assert!(Parent::of(&HeaderMap::new()).0.is_none());
        let right = format!("00-{trace}-{span}-00");
        assert_eq!(Parent::header(&right).unwrap(), right);
        assert_eq!(Parent::header(&format!("{right}\n")), None);
    }
}
