//! An OpenTelemetry collector of the tests' own: it takes OTLP over gRPC and over HTTP on one port, and keeps what it gets.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http_body_util::StreamBody;
use hyper::body::Frame;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message;
use tokio::runtime::Runtime;

/// A message on a gRPC stream begins with whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Names and values of what something has.
pub type Attributes = BTreeMap<String, String>;

/// A span.
#[derive(Debug, Clone)]
pub struct Span {
    /// `service.name` of who recorded it.
    pub service: String,
    /// In hexadecimal, as logs have it.
    pub trace: String,
    /// In hexadecimal.
    pub id: String,
    /// The span that it is part of; empty for the first of a trace.
    pub parent: String,
    /// The spans that it has links to: their traces and ids.
    pub links: Vec<(String, String)>,
    /// What it was.
    pub name: String,
    /// What it says.
    pub attributes: Attributes,
    /// The names of its events.
    pub events: Vec<String>,
    /// Whether it ended with an error.
    pub failed: bool,
    /// Nanoseconds.
    pub took: u64,
}

/// A log event.
#[derive(Debug, Clone)]
pub struct Line {
    /// The trace that it belongs to; empty if to none.
    pub trace: String,
    /// What it says.
    pub text: String,
    /// Its fields.
    pub attributes: Attributes,
}

/// What was received.
#[derive(Debug, Default)]
pub struct Received {
    /// All of them.
    pub spans: Vec<Span>,
    /// All of them.
    pub lines: Vec<Line>,
    /// By name, each point's attributes and how much it says: a value, or for a histogram the number of times.
    pub metrics: BTreeMap<String, Vec<(Attributes, f64)>>,
}

/// A collector, until it is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    _runtime: Runtime,
}

impl Sink {
    /// One that listens, on a port of its own.
    pub fn start() -> Result<Self> {
        Self::start_on(&[(Ipv4Addr::LOCALHOST, 0).into()])
    }

    /// One that listens on these addresses.
    pub fn start_on(addresses: &[SocketAddr]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let received = Arc::<Mutex<Received>>::default();
        let router = Router::new()
            .route("/v1/{signal}", post(over_http))
            .route("/{service}/Export", post(over_grpc))
            .with_state(Arc::clone(&received));
        let mut first = None;
        for address in addresses {
            let listener = runtime.block_on(tokio::net::TcpListener::bind(address))?;
            first = first.or(Some(listener.local_addr()?));
            let router = router.clone();
            runtime.spawn(async { axum::serve(listener, router).await });
        }
        let address = first.context("no address to listen on")?;
        Ok(Self { address, received, _runtime: runtime })
    }

    /// Where it listens; the first address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has got so far.
    pub fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Shared = State<Arc<Mutex<Received>>>;

async fn over_http(State(received): Shared, Path(signal): Path<String>, body: Bytes) -> Response {
    match take(&received, &signal, &body) {
        Ok(()) => ([("content-type", "application/x-protobuf")], Bytes::new()).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}")).into_response(),
    }
}

async fn over_grpc(State(received): Shared, Path(service): Path<String>, body: Bytes) -> Response {
    let signal = match service.as_str() {
        "opentelemetry.proto.collector.trace.v1.TraceService" => "traces",
        "opentelemetry.proto.collector.metrics.v1.MetricsService" => "metrics",
        "opentelemetry.proto.collector.logs.v1.LogsService" => "logs",
        _ => "",
    };
    let message = body.get(PREFIX..).unwrap_or_default();
    let status = if take(&received, signal, message).is_ok() { "0" } else { "3" };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let frames = [Frame::data(Bytes::from_static(&[0; PREFIX])), Frame::trailers(trailers)];
    let frames = frames.map(Ok::<_, std::convert::Infallible>);
    let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
    ([("content-type", "application/grpc")], body).into_response()
}

fn take(received: &Mutex<Received>, signal: &str, message: &[u8]) -> Result<()> {
    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
    match signal {
        "traces" => received.spans(ExportTraceServiceRequest::decode(message)?),
        "metrics" => received.metrics(ExportMetricsServiceRequest::decode(message)?),
        "logs" => received.lines(ExportLogsServiceRequest::decode(message)?),
        other => anyhow::bail!("no signal is called {other:?}"),
    }
    Ok(())
}

impl Received {
    fn spans(&mut self, request: ExportTraceServiceRequest) {
        for of_resource in request.resource_spans {
            let resource = of_resource.resource.map(|resource| attributes(resource.attributes));
            let service = resource.and_then(|mut all| all.remove("service.name")).unwrap_or_default();
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let links = span.links.iter();
                let links = links.map(|link| (hexadecimal(&link.trace_id), hexadecimal(&link.span_id)));
                self.spans.push(Span {
                    links: links.collect(),
                    service: service.clone(),
                    trace: hexadecimal(&span.trace_id),
                    id: hexadecimal(&span.span_id),
                    parent: hexadecimal(&span.parent_span_id),
                    name: span.name,
                    attributes: attributes(span.attributes),
                    events: span.events.into_iter().map(|event| event.name).collect(),
                    failed: span.status.is_some_and(|status| status.code() == SpanStatus::Error),
                    took: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
                });
            }
        }
    }

    fn lines(&mut self, request: ExportLogsServiceRequest) {
        let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        for record in scopes.flat_map(|scope| scope.log_records) {
            self.lines.push(Line {
                trace: hexadecimal(&record.trace_id),
                text: record.body.map(text).unwrap_or_default(),
                attributes: attributes(record.attributes),
            });
        }
    }

    fn metrics(&mut self, request: ExportMetricsServiceRequest) {
        let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let points = match metric.data {
                Some(metric::Data::Gauge(gauge)) => gauge.data_points,
                Some(metric::Data::Sum(sum)) => sum.data_points,
                Some(metric::Data::Histogram(histogram)) => {
                    let points = histogram.data_points.into_iter();
                    #[expect(clippy::cast_precision_loss, reason = "small counts")]
                    let points = points.map(|point| (attributes(point.attributes), point.count as f64));
                    self.metrics.insert(metric.name, points.collect());
                    continue;
                }
                _ => continue,
            };
            let points = points.into_iter().map(|point| {
                use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
                #[expect(clippy::cast_precision_loss, reason = "small counts")]
                let value = match point.value {
                    Some(Value::AsDouble(value)) => value,
                    Some(Value::AsInt(value)) => value as f64,
                    None => f64::NAN,
                };
                (attributes(point.attributes), value)
            });
            self.metrics.insert(metric.name, points.collect());
        }
    }

    /// The first span that is so, or what there is instead.
    pub fn span(&self, what: &str, wanted: impl Fn(&Span) -> bool) -> Result<&Span> {
        self.spans.iter().find(|span| wanted(span)).with_context(|| {
            let names: Vec<_> = self.spans.iter().map(|span| (&span.name, &span.attributes)).collect();
            format!("no span is {what}: {names:?}")
        })
    }
}

fn attributes(all: Vec<KeyValue>) -> Attributes {
    all.into_iter().map(|one| (one.key, one.value.map(text).unwrap_or_default())).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
