//! What proxies have refused, kept beyond the streams on which they said so: it is not sent to them again when they reconnect, and people can
//! still be told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::proxy::Refused;
use crate::resource::Kind;
use crate::stream::Node;

/// Nodes about which something is remembered. Beyond this the one that comes first by name is forgotten: it costs a refused push more if that
/// proxy reconnects.
const MAX_NODES: usize = 10_000;

type Nodes = BTreeMap<(String, String), BTreeMap<Kind, Refused>>;

/// Every proxy's refusals that still stand.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    nodes: Mutex<Nodes>,
}

impl Refusals {
    /// Remembers a refusal, in place of an earlier one of the same kind.
    pub(super) fn record(&self, node: &Node, kind: Kind, refused: Refused) {
        let mut nodes = self.lock();
        nodes.entry(key(node)).or_default().insert(kind, refused);
        if nodes.len() > MAX_NODES {
            nodes.pop_first();
        }
    }

    /// The proxy has accepted something newer.
    pub(super) fn clear(&self, node: &Node, kind: Kind) {
        let mut nodes = self.lock();
        let key = key(node);
        if let Some(kinds) = nodes.get_mut(&key) {
            kinds.remove(&kind);
            if kinds.is_empty() {
                nodes.remove(&key);
            }
        }
    }

    /// What a proxy refuses at present.
    pub(super) fn of(&self, node: &Node) -> BTreeMap<Kind, Refused> {
        self.lock().get(&key(node)).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(node: &Node) -> (String, String) {
    (node.fleet.clone(), node.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::tests::{node, refused};

    #[test]
    fn a_refusal_stands_until_something_newer_is_accepted() {
        let refusals = Refusals::default();
        refusals.record(&node("a"), Kind::Listener, refused("1"));
        refusals.record(&node("a"), Kind::Route, refused("1"));
        refusals.record(&node("a"), Kind::Listener, refused("2"));
        assert_eq!(refusals.of(&node("a"))[&Kind::Listener], refused("2"));
        assert!(refusals.of(&node("b")).is_empty());

        refusals.clear(&node("a"), Kind::Listener);
        assert_eq!(refusals.of(&node("a")).into_keys().collect::<Vec<_>>(), [Kind::Route]);
        refusals.clear(&node("a"), Kind::Route);
        assert!(refusals.lock().is_empty());
    }

    #[test]
    fn clients_that_refuse_under_ever_new_names_do_not_fill_memory() {
        let refusals = Refusals::default();
        for id in 0..=MAX_NODES {
            refusals.record(&node(&id.to_string()), Kind::Listener, refused("1"));
        }
        assert_eq!(refusals.lock().len(), MAX_NODES);
    }
}
