//! What can be wrong with a key.

use super::Report;
use crate::config::PathSegment::{Field, Index};
use crate::config::{GrpcSource, KeyAlternative, KeyPart, KeySource, NamedPart};
use crate::header::is_header_name;
use crate::route_key::template::{Mistake, Template};

pub(super) fn check_alternative(report: &mut Report, alternative: &KeyAlternative) {
    match alternative {
        KeyAlternative::One(source) => check_source(report, source),
        KeyAlternative::All(sources) => {
            if sources.is_empty() {
                report.add("expected at least one source in the list");
            }
            for (index, source) in sources.iter().enumerate() {
                report.at(Index(index), |report| check_source(report, source));
            }
        }
    }
}

pub(super) fn check_key(report: &mut Report, key: &[KeyPart]) {
    report.each("key", key, |report, part| match part {
        KeyPart::Named(NamedPart::RouteKey | NamedPart::Backend) => {}
        KeyPart::Source(source) => check_source(report, source),
    });
}

fn check_source(report: &mut Report, source: &KeySource) {
    match source {
        KeySource::Template { template, key } => match Template::parse(template, key) {
            Ok(_) => {}
            Err(Mistake::Template(message)) => report.at(Field("template"), |report| report.add(message)),
            Err(Mistake::Key(message)) => report.at(Field("key"), |report| report.add(message)),
        },
        KeySource::Header(name) => {
            if !is_header_name(name) {
                let message = format!("expected a header name such as x-tenant-id, found {name:?}");
                report.at(Field("header"), |report| report.add(message));
            }
        }
        KeySource::ClientAddress { prefix } => {
            if let Some(prefix) = prefix.filter(|prefix| *prefix > 128) {
                let message = format!("expected at most 128 bits, found {prefix}");
                report.at(Field("clientAddress"), |report| {
                    report.at(Field("prefix"), |report| report.add(message));
                });
            }
        }
        KeySource::Method | KeySource::Sni | KeySource::Grpc(GrpcSource::Service | GrpcSource::Method) => {}
        KeySource::Query(name) => {
            if name.is_empty() {
                report.at(Field("query"), |report| {
                    report.add("expected a query parameter's name, found nothing");
                });
            }
        }
        KeySource::Cookie(name) => {
            if !is_header_name(name) {
                let message = format!("expected a cookie's name, found {name:?}");
                report.at(Field("cookie"), |report| report.add(message));
            }
        }
        KeySource::Grpc(GrpcSource::Metadata(name)) => {
            if !is_header_name(name) {
                let message = format!("expected a name such as x-tenant-id, found {name:?}");
                report.at(Field("grpc"), |report| report.at(Field("metadata"), |report| report.add(message)));
            }
        }
        KeySource::Value(value) => {
            if value.is_empty() {
                report.at(Field("value"), |report| report.add("expected at least one character"));
            }
        }
    }
}
