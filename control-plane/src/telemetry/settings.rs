//! What the environment asks for.

mod delivery;

use std::path::PathBuf;
use std::time::Duration;

/// What is exported, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Settings {
    pub(super) traces: Option<Delivery>,
    pub(super) metrics: Option<Delivery>,
    pub(super) logs: Option<Delivery>,
}

/// How a signal reaches the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) protocol: Protocol,
    /// For a request and its answer.
    pub(super) timeout: Duration,
    /// Where it is said to be, if it is.
    pub(super) endpoint: Option<String>,
    /// Whom it has to be vouched for by, in place of those whom the system trusts; and the variable that says so.
    pub(super) trusted: Option<(String, PathBuf)>,
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

/// A variable that asks for what is not there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Its value is none of those that it can have.
    #[error("{variable}={value}: expected {expected}")]
    Value {
        /// Which variable.
        variable: String,
        /// What it says.
        value: String,
        /// What it could say.
        expected: &'static str,
    },
    /// The file that it names can't be used.
    #[error("{variable}={}: {reason}", path.display())]
    File {
        /// Which variable.
        variable: String,
        /// What it names.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It can't be met. What it says may be secret.
    #[error("{variable}: {reason}")]
    Unmet {
        /// Which variable.
        variable: String,
        /// Why not.
        reason: &'static str,
    },
}

impl Settings {
    /// `variable` reads the environment; what is empty there counts as missing.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(Self::default());
        }
        Ok(Self {
            traces: signal("TRACES", &variable)?,
            metrics: signal("METRICS", &variable)?,
            logs: signal("LOGS", &variable)?,
        })
    }
}

fn signal(name: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<Option<Delivery>, SettingsError> {
    let exporter = format!("OTEL_{name}_EXPORTER");
    let wanted = match variable(&exporter) {
        Some(value) if value == "otlp" => true,
        Some(value) if value == "none" => false,
        Some(value) => {
            return Err(SettingsError::Value { variable: exporter, value, expected: "otlp or none" });
        }
        // By the specification it would be on; a program that nobody has told of a collector should not look for one.
        None => delivery::set(name, "ENDPOINT", variable).next().is_some(),
    };
    wanted.then(|| Delivery::of(name, variable)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let value = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Settings::read(value).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_exported_unless_somebody_asks() {
        assert_eq!(read(&[]), Ok(Settings::default()));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(Settings::default()));
        let off = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_SDK_DISABLED", "TRUE")];
        assert_eq!(read(&off), Ok(Settings::default()));
    }

    #[test]
    fn an_endpoint_or_an_exporter_asks_for_a_signal_or_for_all() {
        let protocols = |variables: &[(&str, &str)]| {
            let Settings { traces, metrics, logs } = read(variables).unwrap();
            [traces, metrics, logs].map(|of| of.map(|of| of.protocol))
        };
        let http = Some(Protocol::Http);
        let everything = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        assert_eq!(protocols(&[everything]), [http; 3]);
        let without = [everything, ("OTEL_LOGS_EXPORTER", "none")];
        assert_eq!(protocols(&without), [http, http, None]);
        assert_eq!(protocols(&[("OTEL_TRACES_EXPORTER", "otlp")]), [http, None, None]);
        let own = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/v1/traces")];
        assert_eq!(protocols(&own), [http, None, None]);
        let mixed = [
            everything,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf"),
        ];
        let grpc = Some(Protocol::Grpc);
        assert_eq!(protocols(&mixed), [grpc, grpc, http]);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let error = read(&[("OTEL_TRACES_EXPORTER", "zipkin")]).unwrap_err();
        assert_eq!(error, "OTEL_TRACES_EXPORTER=zipkin: expected otlp or none");
        let error = read(&[("OTEL_LOGS_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]);
        assert_eq!(
            error.unwrap_err(),
            "OTEL_EXPORTER_OTLP_PROTOCOL=http/json: expected grpc or http/protobuf"
        );
    }

    #[test]
    fn a_signal_has_a_time_limit_of_its_own_or_that_of_all() {
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "70"),
        ])
        .unwrap();
        let timeouts = [settings.traces, settings.metrics, settings.logs].map(|of| of.unwrap().timeout);
        assert_eq!(timeouts, [2500, 2500, 70].map(Duration::from_millis));
        for wrong in ["10s", "0", "-1", "4294967296"] {
            let name = "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT";
            let error = read(&[("OTEL_METRICS_EXPORTER", "otlp"), (name, wrong)]).unwrap_err();
            assert_eq!(error, format!("{name}={wrong}: expected milliseconds, from 1 to 4294967295"));
        }
    }

    #[test]
    fn certificates_to_show_are_refused_where_they_would_be_used() {
        let traces = ("OTEL_TRACES_EXPORTER", "otlp");
        for name in ["TRACES_CLIENT_CERTIFICATE", "CLIENT_CERTIFICATE", "TRACES_CLIENT_KEY"] {
            let name = format!("OTEL_EXPORTER_OTLP_{name}");
            let error = read(&[traces, (&name, "/c.pem")]).unwrap_err();
            assert!(error.starts_with(&format!("{name}: ")), "{error}");
            assert_eq!(read(&[(&name, "/c.pem")]), Ok(Settings::default()));
        }
        assert!(read(&[traces, ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "/c.pem")]).is_ok());
    }

    #[test]
    fn a_signal_trusts_whom_it_is_told_to_or_all_are() {
        let all = "OTEL_EXPORTER_OTLP_CERTIFICATE";
        let own = "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE";
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4317");
        let settings = read(&[endpoint, (all, "/all.pem"), (own, "/own.pem")]).unwrap();
        let said = [settings.traces, settings.logs].map(Option::unwrap);
        assert_eq!(said.each_ref().map(|of| of.endpoint.as_deref()), [Some("https://c:4317"); 2]);
        let expected = [(all, "/all.pem"), (own, "/own.pem")];
        assert_eq!(
            said.map(|of| of.trusted.unwrap()),
            expected.map(|(name, path)| (name.into(), path.into()))
        );
    }

    #[test]
    fn an_endpoint_with_credentials_is_refused_and_not_shown() {
        for endpoint in ["http://me:secret@c:4318", "https://secret@c/v1/traces?a", "me:secret@c:4318"] {
            for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
                let error = read(&[(name, endpoint)]).unwrap_err();
                assert!(error.starts_with(&format!("{name}: ")) && !error.contains("secret"), "{error}");
            }
        }
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/of@team?to=a@b")]).is_ok());
    }
}
