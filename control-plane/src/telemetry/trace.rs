//! A change as one trace: the edit, its revision, the snapshots made of it, each push of them, and what the proxies answered.
//!
//! Stages are recorded when they are over, with the times at which they began: nothing has to be kept open for ten thousand proxies, and a
//! proxy that never answers leaves nothing behind.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _,
};
use opentelemetry::{Context, ContextGuard, KeyValue};

use super::Parent;

/// The name under which spans are recorded.
const SCOPE: &str = "spillway";

/// The place in a trace that something belongs to. Empty, and free, where traces are not exported or this one is not sampled.
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<SpanContext>>);

/// Something that took some time.
#[derive(Debug)]
pub struct Stage {
    name: &'static str,
    kind: SpanKind,
    began: SystemTime,
    ended: SystemTime,
    attributes: Vec<KeyValue>,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Unset,
    Answered(&'static str),
    Failed(&'static str, String),
}

impl Stage {
    /// Something that is over now.
    pub fn since(name: &'static str, began: SystemTime) -> Self {
        let (ended, kind) = (SystemTime::now(), SpanKind::Internal);
        Self { name, kind, began, ended, attributes: Vec::new(), outcome: Outcome::Unset }
    }

    /// Something that took so long and is over now.
    pub fn took(name: &'static str, time: Duration) -> Self {
        let ended = SystemTime::now();
        Self::since(name, ended.checked_sub(time).unwrap_or(ended))
    }

    /// It was over at another time.
    #[must_use]
    pub fn until(self, ended: SystemTime) -> Self {
        Self { ended, ..self }
    }

    /// What was sent to somebody.
    #[must_use]
    pub fn sent(self) -> Self {
        Self { kind: SpanKind::Producer, ..self }
    }

    /// Says something about it.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<opentelemetry::Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value));
        self
    }

    /// It ended with an answer.
    #[must_use]
    pub fn answered(self, event: &'static str) -> Self {
        Self { outcome: Outcome::Answered(event), ..self }
    }

    /// It ended with an answer that is an error.
    #[must_use]
    pub fn failed(self, event: &'static str, reason: String) -> Self {
        Self { outcome: Outcome::Failed(event, reason), ..self }
    }
}

impl Trace {
    /// The first stage of a trace of its own.
    pub fn begin(stage: Stage) -> Self {
        Self::record(stage, &Context::new())
    }

    /// The first stage here of what may be part of something elsewhere, which then decides whether it is recorded.
    pub fn join(parent: &Parent, stage: Stage) -> Self {
        Self::record(stage, &parent.context())
    }

    /// A further stage that leads to nothing.
    pub fn note(&self, stage: impl FnOnce() -> Stage) {
        drop(self.follow(stage));
    }

    /// A further stage, and the place in the trace of what it leads to.
    #[must_use]
    pub fn follow(&self, stage: impl FnOnce() -> Stage) -> Self {
        let Some(parent) = &self.0 else { return Self::default() };
        Self::record(stage(), &Context::new().with_remote_span_context(SpanContext::clone(parent)))
    }

    fn record(stage: Stage, parent: &Context) -> Self {
        let Stage { name, kind, began, ended, attributes, outcome } = stage;
        let tracer = opentelemetry::global::tracer(SCOPE);
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_start_time(began);
        let mut span = tracer.build_with_context(builder.with_attributes(attributes), parent);
        let context = span.span_context().clone();
        if !context.is_sampled() {
            return Self::default();
        }
        match outcome {
            Outcome::Unset => {}
            Outcome::Answered(event) => span.add_event_with_timestamp(event, ended, Vec::new()),
            Outcome::Failed(event, reason) => {
                span.add_event_with_timestamp(event, ended, Vec::new());
                span.set_status(Status::error(reason));
            }
        }
        span.end_with_timestamp(ended);
        Self(Some(Arc::new(context)))
    }

    /// Its number, for logs.
    pub fn id(&self) -> Option<TraceId> {
        self.0.as_ref().map(|context| context.trace_id())
    }

    /// Until what is returned is dropped, this thread's log events belong to it.
    pub fn enter(&self) -> Option<ContextGuard> {
        let context = self.0.as_ref()?;
        Some(Context::new().with_remote_span_context(SpanContext::clone(context)).attach())
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_exporter_there_is_nothing() {
        let began = SystemTime::now();
        let trace = Trace::begin(Stage::since("edit", began).with("revision", 1));
        assert!(trace.id().is_none() && trace.enter().is_none());
        let followed = trace.follow(|| panic!("what it would say is not even put together"));
        assert!(followed.id().is_none());
    }
}
