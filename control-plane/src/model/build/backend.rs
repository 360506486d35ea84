//! What has to hold for a Backend.

use super::{Check, steps};
use crate::document::Document;
use crate::document::kind::Backend;

pub(super) fn check(check: &mut Check<'_>, document: &Document, backend: &Backend) {
    let endpoints = backend.endpoints.iter().enumerate();
    check.unique(
        document,
        endpoints.map(|(i, endpoint)| {
            ((endpoint.address, endpoint.port), steps!["spec", "endpoints", i].to_vec())
        }),
        &["address", "port"],
        |(address, port)| format!("there is an endpoint {address} port {port} already"),
    );
    let sum: u64 = backend.endpoints.iter().map(|endpoint| u64::from(endpoint.weight.get())).sum();
    if sum > u32::MAX.into() {
        let message = format!("the weights add up to {sum}, more than {}", u32::MAX);
        check.report(document, steps!["spec", "endpoints"], message, None);
    }
}
