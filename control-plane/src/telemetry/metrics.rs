//! The metrics of `/metrics`, exported.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, MeterProvider as _};
use opentelemetry_sdk::metrics::{Instrument, InstrumentKind, SdkMeterProvider, Stream};

use crate::admin::Admin;
use crate::admin::metrics::families;
use crate::admin::metrics::family::{Families, Sort, Value};
use crate::histogram::BOUNDS;

/// The callbacks of one export come right after one another, and all of them look at what was read once.
const FRESH: Duration = Duration::from_millis(500);

/// At most so many samples of a gauge are exported; those of others are one number, without labels. The library makes room for all of
/// them at once, two megabytes for each gauge, of which the system hands out what is used.
const MAX_SAMPLES: usize = 50_000;

/// What was read last.
struct Reading {
    /// Whoever shuts down must not have to wait for the next export.
    admin: Weak<Admin>,
    last: Mutex<Option<(Instant, Arc<Families>)>>,
}

/// Keeps alive what figures are read from. They are read for the last time when this is dropped, and stay like that.
#[must_use]
pub struct Observed {
    admin: Arc<Admin>,
    reading: Arc<Reading>,
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.reading.read_now(&self.admin);
    }
}

impl Reading {
    fn read(&self) -> Arc<Families> {
        let last = self.last();
        match (&*last, self.admin.upgrade()) {
            (Some((at, families)), _) if at.elapsed() < FRESH => Arc::clone(families),
            (_, Some(admin)) => Self::renew(last, &admin),
            (Some((_, families)), None) => Arc::clone(families),
            (None, None) => Arc::default(),
        }
    }

    fn read_now(&self, admin: &Admin) {
        drop(Self::renew(self.last(), admin));
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, Arc<Families>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever else asks meanwhile waits for this instead of reading too.
    fn renew(mut last: MutexGuard<'_, Option<(Instant, Arc<Families>)>>, admin: &Admin) -> Arc<Families> {
        let families = Arc::new(families(admin));
        *last = Some((Instant::now(), Arc::clone(&families)));
        families
    }

    fn observe(&self, name: &str, instrument: &dyn AsyncInstrument<f64>) {
        let families = self.read();
        let of_name = families.0.iter().filter(|family| family.name == name);
        for sample in of_name.flat_map(|family| &family.samples) {
            if let Value::Number(value) = sample.value {
                instrument.observe(value, &attributes(&sample.labels));
            }
        }
    }
}

fn attributes(labels: &[(&'static str, String)]) -> Vec<KeyValue> {
    labels.iter().map(|(label, value)| KeyValue::new(*label, value.clone())).collect()
}

/// Makes room for the samples of gauges: there are some for each fleet and each certificate, and by default those after 2,000 would be
/// thrown together.
pub(super) fn widen(instrument: &Instrument) -> Option<Stream> {
    let is_gauge = instrument.kind() == InstrumentKind::ObservableGauge;
    is_gauge.then(|| Stream::builder().with_cardinality_limit(MAX_SAMPLES).build().ok()).flatten()
}

/// Exports them under the same names.
pub(super) fn observe(provider: &SdkMeterProvider, admin: Arc<Admin>) -> Observed {
    let meter = provider.meter("spillway");
    let reading = Arc::new(Reading { admin: Arc::downgrade(&admin), last: Mutex::default() });
    for family in &reading.read().0 {
        let (name, reading) = (family.name, Arc::clone(&reading));
        match family.sort {
            Sort::Counter => drop(
                meter
                    .f64_observable_counter(name)
                    .with_description(family.help)
                    .with_callback(move |instrument| reading.observe(name, instrument))
                    .build(),
            ),
            Sort::Gauge => drop(
                meter
                    .f64_observable_gauge(name)
                    .with_description(family.help)
                    .with_callback(move |instrument| reading.observe(name, instrument))
                    .build(),
            ),
            // Times can't be asked for later: each is told as it is counted.
            Sort::Histogram => {
                let bounds = BOUNDS.iter().map(|bound| Duration::from_millis(*bound).as_secs_f64());
                let histogram = meter.f64_histogram(name).with_description(family.help).with_unit("s");
                let histogram = histogram.with_boundaries(bounds.collect()).build();
                for sample in &family.samples {
                    if let Value::Times(times) = &sample.value {
                        times.export(histogram.clone(), attributes(&sample.labels));
                    }
                }
            }
        }
    }
    Observed { admin, reading }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::metrics::Temporality;
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};
    use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

    use super::*;

    /// Counts the samples of an export.
    struct Count(Arc<Mutex<usize>>);

    impl PushMetricExporter for Count {
        async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
            let metrics = metrics.scope_metrics().flat_map(ScopeMetrics::metrics);
            let samples = metrics.map(|metric| match metric.data() {
                AggregatedMetrics::F64(MetricData::Gauge(gauge)) => gauge.data_points().count(),
                other => panic!("{other:?}"),
            });
            *self.0.lock().unwrap() = samples.sum();
            Ok(())
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }

        fn temporality(&self) -> Temporality {
            Temporality::Cumulative
        }
    }

    #[test]
    fn samples_of_many_fleets_are_not_thrown_together() {
        let exported = Arc::<Mutex<usize>>::default();
        let provider = SdkMeterProvider::builder().with_resource(Resource::builder_empty().build());
        let provider = provider.with_view(widen).with_periodic_exporter(Count(Arc::clone(&exported))).build();
        let observe = |instrument: &dyn AsyncInstrument<f64>| {
            for fleet in 0..3000 {
                instrument.observe(1.0, &attributes(&[("fleet", fleet.to_string())]));
            }
        };
        let meter = provider.meter("spillway");
        let _gauge = meter.f64_observable_gauge("spillway_proxies").with_callback(observe).build();
        provider.shutdown().unwrap();
        assert_eq!(*exported.lock().unwrap(), 3000);
    }
}
