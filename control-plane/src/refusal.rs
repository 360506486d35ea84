//! What proxies have refused: remembered so that it is not sent to them again when they reconnect, and so that people can be told.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::resource::Kind;
use crate::stream::Node;
use crate::subscription::Refused;

pub mod redact;
pub mod trace;

/// Nodes about which something is remembered. Beyond this the one that comes first by name is forgotten: it costs a refused push more if that
/// proxy reconnects.
const MAX_NODES: usize = 10_000;

/// One proxy's refusal of one kind of resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it refused.
    pub refused: Refused,
    /// Why, in its own words, redacted.
    pub reason: String,
}

/// Every proxy's refusals that still stand.
#[derive(Debug, Default)]
pub struct Refusals {
    nodes: Mutex<BTreeMap<(String, String), BTreeMap<Kind, Refusal>>>,
}

impl Refusals {
    /// Remembers a refusal, in place of an earlier one of the same kind.
    pub fn record(&self, node: &Node, kind: Kind, refusal: Refusal) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.entry(key(node)).or_default().insert(kind, refusal);
        if nodes.len() > MAX_NODES {
            nodes.pop_first();
        }
    }

    /// The proxy has accepted something newer.
    pub fn clear(&self, node: &Node, kind: Kind) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(node);
        if let Some(kinds) = nodes.get_mut(&key) {
            kinds.remove(&kind);
            if kinds.is_empty() {
                nodes.remove(&key);
            }
        }
    }

    /// What a proxy refuses at present.
    pub fn of(&self, node: &Node) -> BTreeMap<Kind, Refusal> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(&key(node)).cloned().unwrap_or_default()
    }
}

fn key(node: &Node) -> (String, String) {
    (node.fleet.clone(), node.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> Node {
        Node { id: id.into(), fleet: "edge".into(), ..Node::default() }
    }

    fn refusal(version: &str) -> Refusal {
        let refused = Refused { version: version.into(), resources: vec![("web".into(), version.into())] };
        Refusal { refused, reason: "no".into() }
    }

    #[test]
    fn a_refusal_stands_until_something_newer_is_accepted() {
        let refusals = Refusals::default();
        refusals.record(&node("a"), Kind::Listener, refusal("1"));
        refusals.record(&node("a"), Kind::Route, refusal("1"));
        refusals.record(&node("a"), Kind::Listener, refusal("2"));
        assert_eq!(refusals.of(&node("a"))[&Kind::Listener], refusal("2"));
        assert!(refusals.of(&node("b")).is_empty());

        refusals.clear(&node("a"), Kind::Listener);
        assert_eq!(refusals.of(&node("a")).into_keys().collect::<Vec<_>>(), [Kind::Route]);
        refusals.clear(&node("a"), Kind::Route);
        assert!(refusals.nodes.lock().unwrap().is_empty());
    }

    #[test]
    fn clients_that_refuse_under_ever_new_names_do_not_fill_memory() {
        let refusals = Refusals::default();
        for id in 0..=MAX_NODES {
            refusals.record(&node(&id.to_string()), Kind::Listener, refusal("1"));
        }
        assert_eq!(refusals.nodes.lock().unwrap().len(), MAX_NODES);
    }
}
