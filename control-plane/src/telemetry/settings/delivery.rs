//! How a signal that is exported reaches the collector.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::{Delivery, Protocol, SettingsError};

/// What the specification says.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The variables of a signal and of all signals that are set, with what they say. The first comes before the second.
pub(super) fn set(
    signal: &str,
    what: &str,
    variable: &impl Fn(&str) -> Option<String>,
) -> impl Iterator<Item = (String, String)> {
    let names = [format!("OTEL_EXPORTER_OTLP_{signal}_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
    names.into_iter().filter_map(|name| variable(&name).map(|value| (name, value)))
}

impl Delivery {
    pub(super) fn of(
        signal: &str,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        for what in ["CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            if let Some((variable, _)) = set(signal, what, variable).next() {
                let reason = "collectors are shown no certificate";
                return Err(SettingsError::Unmet { variable, reason });
            }
        }
        for (variable, endpoint) in set(signal, "ENDPOINT", variable) {
            if has_credentials(&endpoint) {
                let reason = "an endpoint can't have credentials in it; OTEL_EXPORTER_OTLP_HEADERS can";
                return Err(SettingsError::Unmet { variable, reason });
            }
        }
        let protocol = match set(signal, "PROTOCOL", variable).next() {
            None => Protocol::Http,
            Some((variable, value)) => match value.as_str() {
                "grpc" => Protocol::Grpc,
                "http/protobuf" => Protocol::Http,
                _ => return Err(SettingsError::Value { variable, value, expected: "grpc or http/protobuf" }),
            },
        };
        let timeout = match set(signal, "TIMEOUT", variable).next() {
            None => TIMEOUT,
            Some((variable, value)) => {
                let Ok(milliseconds) = value.parse::<NonZeroU32>() else {
                    let expected = "milliseconds, from 1 to 4294967295";
                    return Err(SettingsError::Value { variable, value, expected });
                };
                Duration::from_millis(milliseconds.get().into())
            }
        };
        let endpoint = set(signal, "ENDPOINT", variable).next().map(|(_, endpoint)| endpoint);
        let trusted = set(signal, "CERTIFICATE", variable).next();
        let trusted = trusted.map(|(variable, path)| (variable, PathBuf::from(path)));
        Ok(Self { protocol, timeout, endpoint, trusted })
    }
}

/// Whether there is anything before an `@` where the host is named.
fn has_credentials(endpoint: &str) -> bool {
    let after_scheme = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    after_scheme.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}
