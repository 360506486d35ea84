//! What this process tells others about itself by OpenTelemetry: traces of changes, metrics and logs, over OTLP.
//!
//! The variables that OpenTelemetry has agreed on say what goes where
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>). Without them nothing is set up, nothing is
//! recorded, and a change costs one look at an empty pointer.

mod grpc;
mod http;
mod metrics;
mod parent;
mod settings;
pub mod trace;
mod trust;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry_appender_tracing::layer::{OpenTelemetryTracingBridge, TracingSpanAttributes};
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig as _,
    WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;

use self::http::OnRuntime;
use self::settings::{Delivery, Protocol, Settings};
use self::trust::Trust;
use crate::admin::Admin;

pub use self::metrics::Observed;
pub use self::parent::{Parent, TRACEPARENT};
pub use self::settings::SettingsError;

/// How long the last spans, figures and lines may take to be delivered when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The fields of spans that log events in them are exported with: who the proxy is, or which request it was.
const SPAN_FIELDS: [&str; 4] = ["node", "fleet", "id", "variant"];

/// Turns log events into OpenTelemetry's.
pub type LogLayer = OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>;

/// What is exported.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
    logs: Option<SdkLoggerProvider>,
}

/// Nothing can be exported as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A variable says something that can't be done.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// An exporter can't be made of what the variables say.
    #[error("OpenTelemetry")]
    Exporter(#[from] ExporterBuildError),
    /// An endpoint is none.
    #[error("OpenTelemetry")]
    Endpoint(#[from] tonic::transport::Error),
}

impl Telemetry {
    /// Starts what the environment asks for. Must be called on a runtime.
    pub fn start() -> Result<Self, TelemetryError> {
        let variable = |name: &str| std::env::var(name).ok();
        let settings = Settings::read(variable)?;
        let resource = resource(variable, Box::new(EnvResourceDetector::new()));
        let http = OnRuntime::current();
        let mut telemetry = Self::default();
        if let Some(delivery) = settings.traces {
            let trust = trust(&delivery)?;
            let exporter = SpanExporter::builder();
            let exporter = match delivery.protocol {
                Protocol::Grpc => {
                    let exporter = exporter.with_tonic().with_timeout(delivery.timeout);
                    match grpc::channel(&delivery, &trust)? {
                        Some(channel) => exporter.with_channel(channel).build()?,
                        None => exporter.build()?,
                    }
                }
                Protocol::Http => exporter
                    .with_http()
                    .with_timeout(delivery.timeout)
                    .with_http_client(http.within(delivery.timeout, &trust))
                    .build()?,
            };
            let provider = SdkTracerProvider::builder().with_resource(resource.clone());
            let provider = provider.with_batch_exporter(exporter).build();
            opentelemetry::global::set_tracer_provider(provider.clone());
            telemetry.traces = Some(provider);
        }
        if let Some(delivery) = settings.metrics {
            let trust = trust(&delivery)?;
            let exporter = MetricExporter::builder();
            let exporter = match delivery.protocol {
                Protocol::Grpc => {
                    let exporter = exporter.with_tonic().with_timeout(delivery.timeout);
                    match grpc::channel(&delivery, &trust)? {
                        Some(channel) => exporter.with_channel(channel).build()?,
                        None => exporter.build()?,
                    }
                }
                Protocol::Http => exporter
                    .with_http()
                    .with_timeout(delivery.timeout)
                    .with_http_client(http.within(delivery.timeout, &trust))
                    .build()?,
            };
            let provider = SdkMeterProvider::builder().with_resource(resource.clone());
            let provider = provider.with_view(metrics::widen).with_periodic_exporter(exporter);
            telemetry.metrics = Some(provider.build());
        }
        if let Some(delivery) = settings.logs {
            let trust = trust(&delivery)?;
            let exporter = LogExporter::builder();
            let exporter = match delivery.protocol {
                Protocol::Grpc => {
                    let exporter = exporter.with_tonic().with_timeout(delivery.timeout);
                    match grpc::channel(&delivery, &trust)? {
                        Some(channel) => exporter.with_channel(channel).build()?,
                        None => exporter.build()?,
                    }
                }
                Protocol::Http => exporter
                    .with_http()
                    .with_timeout(delivery.timeout)
                    .with_http_client(http.within(delivery.timeout, &trust))
                    .build()?,
            };
            let provider = SdkLoggerProvider::builder().with_resource(resource.clone());
            telemetry.logs = Some(provider.with_batch_exporter(exporter).build());
        }
        Ok(telemetry)
    }

    /// For log events, if they are exported.
    pub fn log_layer(&self) -> Option<LogLayer> {
        let fields = || TracingSpanAttributes::allowlist(SPAN_FIELDS);
        let bridge =
            |provider| OpenTelemetryTracingBridge::builder(provider).with_tracing_span_attributes(fields());
        self.logs.as_ref().map(|provider| bridge(provider).build())
    }

    /// Exports what is counted, if figures are exported: as it is while what is returned is there, and then as it was at the end.
    pub fn observe(&self, admin: Arc<Admin>) -> Option<Observed> {
        self.metrics.as_ref().map(|provider| metrics::observe(provider, admin))
    }

    /// Delivers what has not been delivered yet. Blocks, but not for ever. The runtime must still be there.
    pub fn end(self) {
        let Self { traces, metrics, logs } = self;
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        let shutdowns: [Option<Shutdown>; 3] = [
            traces.map(|provider| Box::new(move || provider.shutdown()) as Shutdown),
            metrics.map(|provider| Box::new(move || provider.shutdown()) as Shutdown),
            logs.map(|provider| Box::new(move || provider.shutdown()) as Shutdown),
        ];
        // Side by side, or a collector that takes no traces would cost the metrics and the logs too. In threads, because not all of these
        // keep a time limit; they end with the process.
        let flushed: Vec<_> = shutdowns.into_iter().flatten().map(flush).collect();
        let is_lost = |flushed: &mpsc::Receiver<bool>| {
            let left = deadline.saturating_duration_since(Instant::now());
            !flushed.recv_timeout(left).unwrap_or(false)
        };
        // All of them are waited for, also when the first is lost.
        if flushed.iter().filter(|flushed| is_lost(flushed)).count() > 0 {
            eprintln!("the last telemetry was not delivered");
        }
    }
}

/// Ends an exporter, once it has delivered what it has.
type Shutdown = Box<dyn FnOnce() -> OTelSdkResult + Send>;

/// Tells whether everything has been delivered. Nothing is told where there is no thread for it.
fn flush(shutdown: Shutdown) -> mpsc::Receiver<bool> {
    let (done, flushed) = mpsc::channel();
    drop(thread::Builder::new().name("flush".into()).spawn(move || done.send(shutdown().is_ok())));
    flushed
}

/// Whom a collector has to be vouched for by.
fn trust(delivery: &Delivery) -> Result<Trust, SettingsError> {
    let Some((variable, path)) = &delivery.trusted else { return Ok(Trust::default()) };
    Trust::in_file(path).map_err(|reason| SettingsError::File {
        variable: variable.clone(),
        path: path.clone(),
        reason,
    })
}

/// Who exports. What the environment says about it comes before what is known here.
fn resource(variable: impl Fn(&str) -> Option<String>, environment: Box<dyn ResourceDetector>) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let known = Resource::builder_empty().with_service_name("spillway").with_attribute(version);
    let resource = known.with_detectors(&[Box::new(TelemetryResourceDetector), environment]);
    match variable("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    /// What `OTEL_RESOURCE_ATTRIBUTES` says.
    struct Attributes(&'static [(&'static str, &'static str)]);

    impl ResourceDetector for Attributes {
        fn detect(&self) -> Resource {
            let attributes = self.0.iter().map(|(key, value)| KeyValue::new(*key, *value));
            Resource::builder_empty().with_attributes(attributes).build()
        }
    }

    fn who(name: Option<&str>, attributes: &'static [(&'static str, &'static str)]) -> (String, String) {
        let variable = |of: &str| name.filter(|_| of == "OTEL_SERVICE_NAME").map(str::to_owned);
        let resource = resource(variable, Box::new(Attributes(attributes)));
        assert!(resource.get(&Key::new("telemetry.sdk.name")).is_some());
        let get = |key: &'static str| resource.get(&Key::new(key)).unwrap().to_string();
        (get("service.name"), get("service.version"))
    }

    #[test]
    fn the_environment_says_who_this_is() {
        let version = env!("CARGO_PKG_VERSION");
        let is = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(who(None, &[]), is("spillway", version));
        assert_eq!(who(Some(""), &[]), is("spillway", version));
        let named = &[("service.name", "edge"), ("service.version", "9")];
        assert_eq!(who(None, named), is("edge", "9"));
        assert_eq!(who(Some(""), named), is("edge", "9"));
        assert_eq!(who(Some("other"), named), is("other", "9"));
    }
}
