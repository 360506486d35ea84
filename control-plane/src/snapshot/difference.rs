//! What makes the resources of two sets of documents different: by fleet, type and name, field by field.

use std::collections::BTreeSet;

use serde_json::Value;

use super::build::Builder;
use super::revision::Revisions;
use super::{Form, Resource, Snapshot};
use crate::model::Model;
use crate::resource::Kind;
use crate::store::difference::{Action, FieldChange, fields};

/// What happens to one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceChange {
    /// Its type.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What happens.
    pub action: Action,
    /// The fields that differ, if it is neither new nor gone.
    pub fields: Vec<FieldChange>,
}

/// The resources that differ, by fleet: fleets in the order of their names, resources in the order of pushes and of their names. Fleets in
/// which nothing differs are left out.
pub fn difference(before: &Model, after: &Model) -> Vec<(String, Vec<ResourceChange>)> {
    // The module is the same on both sides, and revisions are not compared.
    let mut builder = Builder::new("", Revisions::default());
    // What is in files is not shown, and neither whether it differs.
    let before = builder.build(&before.without_material(), 0).clone();
    let after = builder.build(&after.without_material(), 0);
    let fleets: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let empty = Snapshot::default();
    let changes = fleets.into_iter().map(|fleet| {
        let old = before.get(fleet).map_or(&empty, AsRef::as_ref);
        let new = after.get(fleet).map_or(&empty, AsRef::as_ref);
        (fleet.clone(), Kind::ALL.into_iter().flat_map(|kind| of_kind(kind, old, new)).collect::<Vec<_>>())
    });
    changes.filter(|(_, changes)| !changes.is_empty()).collect()
}

fn of_kind(kind: Kind, before: &Snapshot, after: &Snapshot) -> Vec<ResourceChange> {
    let (before, after) = (before.set(kind), after.set(kind));
    let names: BTreeSet<_> = before.iter().chain(after.iter()).map(|resource| resource.name()).collect();
    let change = |name: &&super::Name| {
        let (action, fields) = match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) if old.version() == new.version() => return None,
            (Some(old), Some(new)) => (Action::Changed, fields(&shown(old), &shown(new))),
            (None, Some(_)) => (Action::Added, Vec::new()),
            (Some(_), None) => (Action::Removed, Vec::new()),
            (None, None) => return None,
        };
        // A filter's revision may be all that differs.
        (action != Action::Changed || !fields.is_empty()).then(|| ResourceChange {
            kind,
            name: name.to_string(),
            action,
            fields,
        })
    };
    names.iter().filter_map(change).collect()
}

/// A resource as JSON.
fn shown(resource: &Resource) -> Value {
    use envoy_types::pb::google::protobuf::Any;
    use prost::Message;

    match Any::decode(resource.any(Form::First)) {
        Ok(Any { type_url, value }) => crate::resource::json::json(&type_url, &value),
        // It was encoded here.
        Err(error) => Value::String(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::tests::model;

    fn shop(weight: u32, rate: &str, more: &[(&str, &str, &str)]) -> Model {
        let route = format!(
            "{{parentRefs: [{{name: edge}}], rules: [{{name: r, backendRefs: [{{name: a, weight: {weight}}}, {{name: b, weight: 1}}]}}]}}"
        );
        let policy = format!(
            "{{targetRefs: [{{kind: Gateway, name: edge}}], rateLimits: [{{name: all, rate: {rate}}}]}}"
        );
        let documents = [
            ("Gateway", "edge", "{fleet: f, listeners: [{name: web, port: 80, protocol: HTTP}]}"),
            ("Route", "shop", route.as_str()),
            ("Backend", "a", "{endpoints: [{address: 10.0.0.1, port: 1}]}"),
            ("Backend", "b", "{endpoints: []}"),
            ("TrafficPolicy", "p", policy.as_str()),
        ];
        model(&[&documents[..], more].concat())
    }

    fn lines(before: &Model, after: &Model) -> Vec<String> {
        let mut lines = Vec::new();
        for (fleet, changes) in difference(before, after) {
            for ResourceChange { kind, name, action, fields } in changes {
                lines.push(format!("{fleet} {kind:?} {name} {action:?}"));
                lines.extend(fields.iter().map(ToString::to_string));
            }
        }
        lines
    }

    #[test]
    fn equal_documents_have_no_differences() {
        assert!(lines(&shop(1, "5/s", &[]), &shop(1, "5/s", &[])).is_empty());
    }

    #[test]
    fn a_changed_weight_is_one_field_of_one_route() {
        let lines = lines(&shop(1, "5/s", &[]), &shop(3, "5/s", &[]));
        assert_eq!(lines[0], "f Route 0.0.0.0:80 Changed");
        assert!(lines.iter().any(|line| line.ends_with("[a].weight: 1 -> 3")), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("[b]")), "{lines:#?}");
    }

    #[test]
    fn a_changed_limit_is_a_field_of_the_filters_configuration() {
        let lines = lines(&shop(1, "5/s", &[]), &shop(1, "6/s", &[]));
        assert_eq!(lines[0], "f ExtensionConfig spillway/edge Changed");
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(
            lines[1].contains("policies[p].rate_limits[all].rate") || lines[1].contains("rateLimits[all]"),
            "{lines:#?}"
        );
    }

    #[test]
    fn a_new_fleet_has_only_new_resources() {
        let more = [("Gateway", "other", "{fleet: g, listeners: [{name: web, port: 80, protocol: HTTP}]}")];
        let lines = lines(&shop(1, "5/s", &[]), &shop(1, "5/s", &more));
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.starts_with("g ") && line.ends_with(" Added"))
        );
    }
}
