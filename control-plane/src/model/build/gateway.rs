//! What has to hold for a Gateway.

use std::collections::BTreeMap;

use super::{Check, certificate, proxyless, steps};
use crate::document::Document;
use crate::document::kind::{Gateway, Listener, Protocol};

pub(super) fn check(check: &mut Check<'_>, document: &Document, gateway: &Gateway) {
    proxyless::gateway(check, document, gateway);
    certificate::gateway(check, document, gateway);
    let has_requests = |one: &Listener| matches!(one.protocol, Protocol::Http | Protocol::Https);
    if gateway.tracing.is_some()
        && document.is_sound(steps!["spec"], &["listeners"])
        && !gateway.listeners.iter().any(has_requests)
    {
        let message = "spans are of requests that Envoys serve, and this Gateway has no listener whose protocol is HTTP or HTTPS";
        check.report(document, steps!["spec", "tracing"], message, None);
    }
    let names = gateway.listeners.iter().enumerate();
    check.unique(
        document,
        names.map(|(i, listener)| (listener.name.as_str(), steps!["spec", "listeners", i].to_vec())),
        &["name"],
        |name| format!("there is a listener `{name}` already"),
    );
}

/// One process can listen on an address and port only once: in all Gateways of a fleet, no two listeners share them.
pub(super) fn ports(check: &mut Check<'_>) {
    let mut taken = BTreeMap::new();
    let mut conflicts = Vec::new();
    for (document, gateway) in check.gateways() {
        for (i, listener) in gateway.listeners.iter().enumerate() {
            let item = steps!["spec", "listeners", i];
            if listener.protocol == Protocol::Proxyless {
                // Nobody listens on its port.
                continue;
            }
            if !document.is_sound(item, &["address", "port"])
                || !document.is_sound(steps!["spec"], &["fleet"])
            {
                continue;
            }
            let path = steps!["spec", "listeners", i, "port"];
            let key = (&gateway.fleet, listener.address, listener.port);
            if let Some(&(owner, first)) = taken.get(&key) {
                let owner: &Document = owner;
                let first = owner.location(steps!["spec", "listeners", first, "port"]);
                conflicts.push((
                    document,
                    path.to_vec(),
                    format!(
                        "{} port {} is taken in fleet `{}` by the listener at {first}",
                        listener.address, listener.port, gateway.fleet
                    ),
                ));
            } else {
                taken.insert(key, (document, i));
            }
        }
    }
    for (document, path, message) in conflicts {
        let help = "one listener serves any number of hosts: Routes have hostnames".to_owned();
        check.report(document, &path, message, Some(help));
    }
}
