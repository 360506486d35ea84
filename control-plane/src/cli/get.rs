//! `spillway get`.

use std::process::ExitCode;

use serde_json::Value;

use super::client::{Client, Server, escaped};
use super::output::{self, Format, Output};
use crate::api::{Documents, yaml};
use crate::document::kind::Kind;

/// Shows documents that are in force.
///
/// Exits with 0, 1 if there is no document of that name, 2 if it could not be found out.
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// Only this kind, such as Route or routes
    #[arg(value_parser = kind)]
    kind: Option<Kind>,
    /// Only this document
    name: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl Get {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let client = self.server.client()?;
        match (self.kind, &self.name, self.output.output) {
            (Some(kind), Some(name), Format::Yaml) => {
                output::print(&client.text(&format!("documents/{kind}/{}", escaped(name)))?)?;
            }
            (Some(kind), Some(name), Format::Json) => {
                let document: Value = client.get(&format!("documents/{kind}/{}", escaped(name)))?;
                output::print(&format!("{document:#}\n"))?;
            }
            (kind, name, format) => list(&client, kind, name.as_deref(), format)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(client: &Client, kind: Option<Kind>, name: Option<&str>, format: Format) -> anyhow::Result<()> {
    let kind = kind.map(|kind| format!("kind={kind}"));
    let named = name.map(|name| format!("name={}", escaped(name)));
    let query: Vec<_> = kind.iter().cloned().chain(named).collect();
    let path = format!("documents?{}", query.join("&"));
    if format == Format::Yaml {
        // As they were written, with comments.
        return output::print(&client.text(&path)?);
    }
    let found: Documents = client.get(&path)?;
    if let (Some(name), true) = (name, found.documents.is_empty()) {
        anyhow::bail!(Missing(name.to_owned()));
    }
    if format == Format::Json {
        let documents: Vec<_> = found.documents.into_iter().map(|listed| listed.document).collect();
        return output::print(&format!("{:#}\n", Value::from(documents)));
    }
    let rows = found.documents.into_iter().map(|listed| {
        [listed.kind.to_string(), listed.name, listed.revision.to_string(), summary(&listed.document)]
    });
    output::print(&output::table(["KIND", "NAME", "REVISION", "SUMMARY"], rows))
}

/// There is no such document.
#[derive(Debug, thiserror::Error)]
#[error("there is no document {0}")]
pub(super) struct Missing(String);

/// What a reader of a list wants to know first.
fn summary(document: &Value) -> String {
    let spec = document.get("spec");
    let list = |pointer: &str, field: &str| -> String {
        let items = spec.and_then(|spec| spec.pointer(pointer)).and_then(Value::as_array);
        let names = items.into_iter().flatten().filter_map(|item| match item {
            Value::String(text) => Some(text.clone()),
            other => other.get(field).map(|value| yaml::text(value).trim_end().to_owned()),
        });
        names.collect::<Vec<_>>().join(",")
    };
    let parts = match document.get("kind").and_then(Value::as_str) {
        Some("Gateway") => {
            let fleet = spec.and_then(|spec| spec.get("fleet")).and_then(Value::as_str).unwrap_or_default();
            vec![("fleet", fleet.to_owned()), ("ports", list("/listeners", "port"))]
        }
        Some("Route") => vec![("hosts", list("/hostnames", "")), ("rules", list("/rules", "name"))],
        Some("Backend") => vec![("endpoints", list("/endpoints", "address"))],
        Some("TrafficPolicy") => vec![
            ("targets", list("/targetRefs", "name")),
            ("limits", list("/rateLimits", "name")),
            ("breakers", list("/circuitBreakers", "name")),
        ],
        _ => Vec::new(),
    };
    let parts = parts.into_iter().filter(|(_, value)| !value.is_empty());
    let text = parts.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// A kind as people write it: in any case, in the plural too.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|kind| {
        let name = kind.name().to_lowercase();
        let plural = name.strip_suffix('y').map_or_else(|| format!("{name}s"), |stem| format!("{stem}ies"));
        [name, plural].contains(&text.to_lowercase())
    });
    found.ok_or_else(|| format!("there are {}", Kind::ALL.map(Kind::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_are_understood_as_people_write_them() {
        for text in ["TrafficPolicy", "trafficpolicy", "TrafficPolicies"] {
            assert_eq!(kind(text), Ok(Kind::TrafficPolicy));
        }
        assert_eq!(kind("routes"), Ok(Kind::Route));
        assert!(kind("Ingress").unwrap_err().contains("TrafficPolicy"));
    }

    #[test]
    fn lists_say_what_a_document_is_about() {
        let gateway =
            json!({"kind": "Gateway", "spec": {"fleet": "edge", "listeners": [{"port": 80}, {"port": 443}]}});
        assert_eq!(summary(&gateway), "fleet=edge ports=80,443");
        assert_eq!(summary(&json!({"kind": "Route", "spec": {"rules": [{"name": "api"}]}})), "rules=api");
        assert_eq!(summary(&json!({"kind": "Backend"})), "");
    }
}
