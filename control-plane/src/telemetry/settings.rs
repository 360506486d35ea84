//! What the environment asks for.

/// What is exported, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Settings {
    pub(super) traces: Option<Protocol>,
    pub(super) metrics: Option<Protocol>,
    pub(super) logs: Option<Protocol>,
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

/// A variable that asks for what is not there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value}: expected {expected}")]
pub struct SettingsError {
    variable: String,
    value: String,
    expected: &'static str,
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

fn signal(name: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<Option<Protocol>, SettingsError> {
    let exporter = format!("OTEL_{name}_EXPORTER");
    let wanted = match variable(&exporter) {
        Some(value) if value == "otlp" => true,
        Some(value) if value == "none" => false,
        Some(value) => return Err(SettingsError { variable: exporter, value, expected: "otlp or none" }),
        // By the specification it would be on; a program that nobody has told of a collector should not look for one.
        None => [format!("OTEL_EXPORTER_OTLP_{name}_ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT".into()]
            .iter()
            .any(|endpoint| variable(endpoint).is_some()),
    };
    if !wanted {
        return Ok(None);
    }
    for variable_name in [format!("OTEL_EXPORTER_OTLP_{name}_PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL".into()]
    {
        return match variable(&variable_name).as_deref() {
            None => continue,
            Some("grpc") => Ok(Some(Protocol::Grpc)),
            Some("http/protobuf") => Ok(Some(Protocol::Http)),
            Some(value) => Err(SettingsError {
                variable: variable_name,
                value: value.to_owned(),
                expected: "grpc or http/protobuf",
            }),
        };
    }
    Ok(Some(Protocol::Http))
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
        let all = Settings {
            traces: Some(Protocol::Http),
            metrics: Some(Protocol::Http),
            logs: Some(Protocol::Http),
        };
        let everything = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        assert_eq!(read(&[everything]), Ok(all));
        let without = [everything, ("OTEL_LOGS_EXPORTER", "none")];
        assert_eq!(read(&without), Ok(Settings { logs: None, ..all }));
        let traces = Settings { traces: Some(Protocol::Http), ..Settings::default() };
        assert_eq!(read(&[("OTEL_TRACES_EXPORTER", "otlp")]), Ok(traces));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/v1/traces")]), Ok(traces));
        let mixed = [
            everything,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf"),
        ];
        let grpc = Some(Protocol::Grpc);
        assert_eq!(read(&mixed), Ok(Settings { traces: grpc, metrics: grpc, ..all }));
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
}
