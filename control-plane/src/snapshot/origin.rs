//! Which documents a resource was made of, so that a proxy's refusal can be traced back to what somebody wrote.

use super::Name;
use crate::document::kind::{self, Protocol};
use crate::resource::{Kind, extension_config, listener, proxyless, secret, tracing};
use crate::store::Accepted;

/// A part of a document that goes into a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The document's kind.
    pub kind: kind::Kind,
    /// Its name.
    pub name: String,
    /// The field below which everything that matters stands; empty for the whole document.
    pub field: String,
}

/// What a resource was made of, the most telling part first: the one to name where nothing tells them apart.
pub(super) fn parts(accepted: &Accepted, gateways: &[Name], kind: Kind, resource: &str) -> Vec<Part> {
    match kind {
        Kind::Secret => {
            let (certificate, field) = secret::origin(resource);
            vec![part(kind::Kind::Certificate, certificate, field)]
        }
        Kind::Cluster => match collector(accepted, gateways, resource) {
            collectors if collectors.is_empty() => vec![part(kind::Kind::Backend, resource, "")],
            collectors => collectors,
        },
        Kind::Endpoints => {
            vec![
                part(kind::Kind::Backend, resource, "spec.endpoints"),
                part(kind::Kind::Backend, resource, ""),
            ]
        }
        Kind::Listener | Kind::Route => listeners(accepted, gateways, kind, resource),
        Kind::ExtensionConfig => filter(accepted, gateways, resource),
    }
}

/// The Gateways whose spans a cluster is for.
fn collector(accepted: &Accepted, gateways: &[Name], resource: &str) -> Vec<Part> {
    let is_of = |gateway: &&Name| {
        let tracing = accepted.model.gateways.get(&***gateway).and_then(|gateway| gateway.tracing.as_ref());
        tracing.is_some_and(|tracing| tracing::cluster_name(&tracing.otlp) == resource)
    };
    let gateways = gateways.iter().filter(is_of);
    gateways.map(|gateway| part(kind::Kind::Gateway, gateway, "spec.tracing")).collect()
}

fn listeners(accepted: &Accepted, gateways: &[Name], kind: Kind, resource: &str) -> Vec<Part> {
    let model = &accepted.model;
    let mut parts = Vec::new();
    for gateway in gateways {
        let Some(document) = model.gateways.get(&**gateway) else { continue };
        for (i, one) in document.listeners.iter().enumerate() {
            let named = match (kind, one.protocol) {
                (Kind::Listener, Protocol::Proxyless) => {
                    proxyless::names(one).iter().any(|name| name == resource)
                }
                (Kind::Listener, _) => listener::resource_name(one) == resource,
                _ => listener::route_config_name(one) == resource,
            };
            if !named {
                continue;
            }
            let itself = part(kind::Kind::Gateway, gateway, &format!("spec.listeners[{i}]"));
            if kind == Kind::Listener {
                parts.push(itself);
                continue;
            }
            let routes: Vec<_> = model.routes_of(gateway, one).map(|attached| attached.name).collect();
            if routes.len() != 1 {
                parts.push(itself);
            }
            parts.extend(routes.into_iter().map(|route| part(kind::Kind::Route, route, "")));
        }
    }
    parts
}

fn filter(accepted: &Accepted, gateways: &[Name], resource: &str) -> Vec<Part> {
    let gateway = gateways.iter().find(|gateway| {
        extension_config::name(gateway) == resource || extension_config::key_name(gateway) == resource
    });
    let Some(gateway) = gateway else { return Vec::new() };
    let policies = accepted.model.filter_configuration(gateway).policies;
    let mut parts = Vec::new();
    if policies.len() != 1 {
        parts.push(part(kind::Kind::Gateway, gateway, ""));
    }
    parts.extend(policies.iter().map(|policy| part(kind::Kind::TrafficPolicy, &policy.name, "")));
    parts
}

fn part(kind: kind::Kind, name: &str, field: &str) -> Part {
    Part { kind, name: name.to_owned(), field: field.to_owned() }
}
