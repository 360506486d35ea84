//! The reader of Prometheus' text format.

use spillway::exposition::samples;

/// Whatever a source says, each of its lines is a sample or is named, and a sample is a part of its line.
pub(crate) fn metrics(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().count();
    for sample in samples(&text) {
        match sample {
            Ok(sample) => {
                assert!(!sample.name.is_empty() && sample.series.starts_with(sample.name), "{sample:?}");
                let labels = sample.labels().unwrap_or_default();
                let size: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
                assert!(size <= sample.series.len(), "{sample:?}: {labels:?}");
            }
            Err(error) => assert!((1..=lines).contains(&error.line), "{error}"),
        }
    }
}
