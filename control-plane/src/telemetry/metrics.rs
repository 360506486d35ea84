//! The metrics of `/metrics`, exported.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use crate::admin::Admin;
use crate::admin::metrics::families;
use crate::admin::metrics::family::{Families, Sort, Value};
use crate::histogram::BOUNDS;

/// The callbacks of one export come right after one another, and all of them look at what was read once.
const FRESH: Duration = Duration::from_millis(500);

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
