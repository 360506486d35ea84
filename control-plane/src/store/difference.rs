//! Field by field: what makes two JSON values, and two versions of a document, different.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::kind::Kind;

/// What happened to something that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is new.
    Added,
    /// It was there and is different.
    Changed,
    /// It is gone.
    Removed,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FieldChange {
    /// Where, such as `spec.rules[api].backendRefs[orders-v2].weight`: items of a list that have names are called by them, others
    /// by their position.
    pub field: String,
    /// What stood there; absent where nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What stands there; absent where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What happened to one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DocumentChange {
    /// Its kind.
    #[schemars(with = "String")]
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What happened.
    pub action: Action,
    /// The fields that differ. A changed document without any differs only in comments or layout.
    pub fields: Vec<FieldChange>,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{}: {before} -> {after}", self.field),
            (None, Some(after)) => write!(f, "{}: + {after}", self.field),
            (Some(before), None) => write!(f, "{}: - {before}", self.field),
            (None, None) => f.write_str(&self.field),
        }
    }
}

/// The fields in which two values differ, in the order of their paths. What is added or removed as a whole is one change.
pub fn fields(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare("", Some(before), Some(after), &mut changes);
    changes
}

fn compare(field: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (None, None) => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let mut keys: Vec<_> = before.keys().collect();
            keys.extend(after.keys().filter(|key| !before.contains_key(*key)));
            keys.sort_unstable();
            for key in keys {
                let field = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
                compare(&field, before.get(key), after.get(key), changes);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => lists(field, before, after, changes),
        (before, after) => {
            changes.push(FieldChange {
                field: field.to_owned(),
                before: before.cloned(),
                after: after.cloned(),
            });
        }
    }
}

fn lists(field: &str, before: &[Value], after: &[Value], changes: &mut Vec<FieldChange>) {
    let (Some(old), Some(new)) = (by_name(before), by_name(after)) else {
        for at in 0..before.len().max(after.len()) {
            compare(&format!("{field}[{at}]"), before.get(at), after.get(at), changes);
        }
        return;
    };
    let count = changes.len();
    let removed = before.iter().filter_map(name).filter(|name| !new.contains_key(name));
    for name in after.iter().filter_map(name).chain(removed) {
        let field = format!("{field}[{name}]");
        compare(&field, old.get(name).copied(), new.get(name).copied(), changes);
    }
    if changes.len() == count {
        // The same items in another order.
        let names = |list: &[Value]| Some(list.iter().filter_map(name).map(Value::from).collect());
        changes.push(FieldChange { field: field.to_owned(), before: names(before), after: names(after) });
    }
}

/// What an item of a list is called: the field that no two items of the same list share.
fn name(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}

/// The items of a list by name; `None` if some have none, or two the same.
fn by_name(list: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    let names: BTreeMap<_, _> = list.iter().filter_map(|item| Some((name(item)?, item))).collect();
    (names.len() == list.len()).then_some(names)
}

#[cfg(test)]
mod tests;
