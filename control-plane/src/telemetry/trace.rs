//! A change as one trace: the edit, its revision, the snapshots made of it, each push of them, and what the proxies answered.
//!
//! Stages are recorded when they are over, with the times at which they began: nothing has to be kept open for ten thousand proxies, and a
//! proxy that never answers leaves nothing behind.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _,
};
use opentelemetry::{Context, ContextGuard, KeyValue};

use super::Parent;

/// The name under which spans are recorded.
const SCOPE: &str = "spillway";

/// So many of many alike are recorded at a place. Ten thousand proxies answer a change within a second: recording each of them would add a quarter to what the
/// change itself costs, and more than may wait for delivery would be thrown away.
const SOME: usize = 250;

/// The place in a trace that something belongs to. Empty, and free, where traces are not exported or this one is not sampled.
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<Place>>);

struct Place {
    context: SpanContext,
    tracer: Arc<BoxedTracer>,
    /// How many of many alike have been recorded here.
    some: AtomicUsize,
}

/// Something that took some time.
#[derive(Debug)]
pub struct Stage {
    name: &'static str,
    kind: SpanKind,
    began: SystemTime,
    ended: SystemTime,
    attributes: Vec<KeyValue>,
    outcome: Outcome,
    /// What it comes from without being part of it.
    link: Option<SpanContext>,
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
        Self { name, kind, began, ended, attributes: Vec::new(), outcome: Outcome::Unset, link: None }
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
        Self::begin_with(opentelemetry::global::tracer(SCOPE), stage)
    }

    /// The first stage here of what may be part of something elsewhere. If that is not recorded, this is the first stage of a trace of its
    /// own with a link to it: who edits does not decide what is known of edits. A sampler that somebody has chosen does.
    pub fn join(parent: &Parent, stage: Stage) -> Self {
        let is_chosen = std::env::var_os("OTEL_TRACES_SAMPLER").is_some_and(|sampler| !sampler.is_empty());
        Self::join_with(opentelemetry::global::tracer(SCOPE), parent, stage, is_chosen)
    }

    fn join_with(tracer: BoxedTracer, parent: &Parent, stage: Stage, is_sampler_chosen: bool) -> Self {
        match parent.unrecorded() {
            Some(caller) if !is_sampler_chosen => {
                Self::begin_with(tracer, Stage { link: Some(caller.clone()), ..stage })
            }
            _ => Self::place(Arc::new(tracer), stage, &parent.context()),
        }
    }

    fn begin_with(tracer: BoxedTracer, stage: Stage) -> Self {
        Self::place(Arc::new(tracer), stage, &Context::new())
    }

    /// A further stage that leads to nothing.
    pub fn note(&self, stage: impl FnOnce() -> Stage) {
        if let Some(place) = &self.0 {
            record(&place.tracer, stage(), &place.parent());
        }
    }

    /// The same for a stage that there may be thousands of: the first of them at this place.
    pub fn note_some(&self, stage: impl FnOnce() -> Stage) {
        // The counter stops soon after, so it does not run over.
        let is_wanted = |place: &Arc<Place>| {
            place.some.load(Ordering::Relaxed) < SOME && place.some.fetch_add(1, Ordering::Relaxed) < SOME
        };
        if self.0.as_ref().is_some_and(is_wanted) {
            self.note(stage);
        }
    }

    /// A further stage, and the place in the trace of what it leads to.
    #[must_use]
    pub fn follow(&self, stage: impl FnOnce() -> Stage) -> Self {
        let Some(place) = &self.0 else { return Self::default() };
        Self::place(Arc::clone(&place.tracer), stage(), &place.parent())
    }

    fn place(tracer: Arc<BoxedTracer>, stage: Stage, parent: &Context) -> Self {
        let context = record(&tracer, stage, parent);
        Self(context.map(|context| Arc::new(Place { context, tracer, some: AtomicUsize::new(0) })))
    }

    /// Its number, for logs.
    pub fn id(&self) -> Option<TraceId> {
        self.0.as_ref().map(|place| place.context.trace_id())
    }

    /// Until what is returned is dropped, this thread's log events belong to it.
    pub fn enter(&self) -> Option<ContextGuard> {
        Some(self.0.as_ref()?.parent().attach())
    }
}

impl Place {
    /// What is recorded with this belongs here.
    fn parent(&self) -> Context {
        Context::new().with_remote_span_context(self.context.clone())
    }
}

/// Records a stage; gives its place in the trace if that is sampled.
fn record(tracer: &BoxedTracer, stage: Stage, parent: &Context) -> Option<SpanContext> {
    let Stage { name, kind, began, ended, attributes, outcome, link } = stage;
    let builder = SpanBuilder::from_name(name).with_kind(kind).with_start_time(began);
    let links = link.map(Link::with_context).into_iter().collect();
    let builder = builder.with_attributes(attributes).with_links(links);
    let mut span = tracer.build_with_context(builder, parent);
    let context = span.span_context().clone();
    if !context.is_sampled() {
        return None;
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
    Some(context)
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::HeaderMap;
    use http::header::HeaderName;
    use opentelemetry::trace::{SpanId, TracerProvider as _};
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};

    use super::super::TRACEPARENT;
    use super::*;

    /// Keeps spans.
    #[derive(Debug, Clone, Default)]
    struct Spans(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Spans {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    impl Spans {
        fn tracer(&self) -> BoxedTracer {
            let provider = SdkTracerProvider::builder().with_simple_exporter(self.clone()).build();
            BoxedTracer::new(Box::new(provider.tracer(SCOPE)))
        }

        fn take(&self) -> Vec<SpanData> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn stage(name: &'static str) -> Stage {
        Stage::since(name, SystemTime::now())
    }

    #[test]
    fn of_many_alike_some_are_recorded_and_everything_else_is() {
        let spans = Spans::default();
        let edit = Trace::begin_with(spans.tracer(), stage("edit"));
        for change in [edit.follow(|| stage("snapshot")), edit.follow(|| stage("snapshot"))] {
            for _ in 0..SOME * 2 {
                change.note_some(|| stage("push").answered("ack"));
            }
            change.note(|| stage("push").failed("nack", "no".into()));
        }
        let spans = spans.take();
        let count = |wanted: &str| spans.iter().filter(|span| span.name == wanted).count();
        // Each of two changes has so many, and what was refused besides.
        assert_eq!((count("edit"), count("snapshot"), count("push")), (1, 2, 2 * SOME + 2));
    }

    #[test]
    fn what_is_not_recorded_elsewhere_is_recorded_here_in_a_trace_of_its_own() {
        const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
        const SPAN: &str = "e457b5a2e4d86bd1";
        let spans = Spans::default();
        let joined = |flags: &str, is_sampler_chosen| {
            let header = Parent::header(&format!("00-{TRACE}-{SPAN}-{flags}")).unwrap();
            let headers = [(HeaderName::from_static(TRACEPARENT), header)];
            let parent = Parent::of(&HeaderMap::from_iter(headers));
            drop(Trace::join_with(spans.tracer(), &parent, stage("edit"), is_sampler_chosen));
            spans.take().pop()
        };
        for is_sampler_chosen in [false, true] {
            let part = joined("01", is_sampler_chosen).unwrap();
            assert_eq!(part.span_context.trace_id().to_string(), TRACE);
            assert_eq!((part.parent_span_id.to_string().as_str(), part.links.len()), (SPAN, 0));
        }
        let own = joined("00", false).unwrap();
        assert_ne!(own.span_context.trace_id().to_string(), TRACE);
        assert_eq!(own.parent_span_id, SpanId::INVALID);
        let links = own.links.iter().map(|link| &link.span_context);
        let links: Vec<_> = links.map(|of| (of.trace_id().to_string(), of.span_id().to_string())).collect();
        assert_eq!(links, [(TRACE.to_owned(), SPAN.to_owned())]);
        // The sampler does as its caller does.
        assert!(joined("00", true).is_none());
    }

    #[test]
    fn without_an_exporter_there_is_nothing() {
        let began = SystemTime::now();
        let trace = Trace::begin(Stage::since("edit", began).with("revision", 1));
        assert!(trace.id().is_none() && trace.enter().is_none());
        trace.note_some(|| panic!("what it would say is not even put together"));
        let followed = trace.follow(|| panic!("what it would say is not even put together"));
        assert!(followed.id().is_none());
    }
}
