//! The registry as others see it: what `spillway status` prints and the API answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::proxy::{LinkId, Proxy, Standing, TypeStanding};
use super::time::rfc3339;
use super::{Cause, Published, Push, Refused, Streams};

/// One fleet.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetView {
    /// `node.cluster` of its proxies.
    pub fleet: String,
    /// The newest revision of the documents; `None` for a fleet that no Gateway names.
    pub revision: Option<u64>,
    /// Whether every connected proxy has accepted everything of that revision.
    pub in_force: bool,
    /// How far that revision has come.
    pub push: PushView,
    /// Who is connected, in the order of their ids.
    pub proxies: Vec<ProxyView>,
}

/// How far a revision has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", rename_all_fields = "camelCase", tag = "state")]
pub enum PushView {
    /// Every proxy gets it.
    #[default]
    Everywhere,
    /// Some proxies try it.
    Trying {
        /// The revision that the others have.
        in_use: u64,
        /// The ids of those that try.
        canaries: Vec<String>,
    },
    /// A proxy that tried it has refused it.
    Stopped {
        /// The revision that every proxy has.
        in_use: u64,
        /// The id of the proxy that refused.
        by: String,
        /// What it refused.
        type_url: String,
        /// And why.
        refused: RefusedView,
    },
}

/// One connected proxy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyView {
    /// `node.id`.
    pub id: String,
    /// `node.locality.zone`.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub zone: String,
    /// Where it connects from.
    pub address: Option<String>,
    /// When the oldest of its streams began, as RFC 3339 writes it.
    pub connected_since: String,
    /// `node.user_agent_name`.
    pub user_agent: String,
    /// Whether it has answered everything of the fleet's newest revision: what it refuses now is a part of that.
    pub answered: bool,
    /// Whether it has accepted everything of the fleet's newest revision.
    pub in_force: bool,
    /// Whether it is one of those that try a new revision first.
    pub canary: bool,
    /// What it subscribes to, in the order of pushes.
    pub types: Vec<TypeView>,
}

/// One type of resource at one proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypeView {
    /// The type.
    pub type_url: String,
    /// The version that was sent last.
    pub sent: Option<String>,
    /// The version that the proxy has accepted last.
    pub accepted: Option<String>,
    /// What it refuses at present.
    pub refused: Option<RefusedView>,
    /// When any of these changed last, as RFC 3339 writes it.
    pub since: String,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedView {
    /// The version that was refused.
    pub version: String,
    /// Why, in the proxy's own words, without what may be secret.
    pub reason: String,
    /// The document that it comes from, such as `Route orders`.
    pub document: Option<String>,
    /// The field of it.
    pub field: Option<String>,
    /// Whether it will be offered again without an edit, because the reason may have passed.
    pub retried: bool,
}

pub(super) fn fleet(
    name: String,
    published: Option<Published>,
    proxies: &BTreeMap<&str, Streams<'_>>,
) -> FleetView {
    let views = proxies.values().filter_map(|streams| proxy(streams, published.as_ref()));
    let views: Vec<_> = views.collect();
    let everywhere = published.as_ref().is_none_or(|published| published.push == Push::Everywhere);
    FleetView {
        fleet: name,
        revision: published.as_ref().map(|published| published.revision),
        in_force: everywhere && views.iter().all(|proxy| proxy.in_force),
        push: published.map(|published| push(published.push, proxies)).unwrap_or_default(),
        proxies: views,
    }
}

fn push(push: Push, proxies: &BTreeMap<&str, Streams<'_>>) -> PushView {
    match push {
        Push::Everywhere => PushView::Everywhere,
        Push::Trying { in_use, canaries } => {
            let tries =
                proxies.iter().filter(|(_, streams)| streams.iter().any(|(id, _)| canaries.contains(id)));
            PushView::Trying { in_use, canaries: tries.map(|(id, _)| (*id).to_owned()).collect() }
        }
        Push::Stopped { in_use, by, kind, refused } => {
            PushView::Stopped { in_use, by, type_url: kind.type_url().to_owned(), refused: refused.into() }
        }
    }
}

/// One proxy by all of its streams, the oldest first.
fn proxy(streams: &[(LinkId, &Arc<Proxy>)], published: Option<&Published>) -> Option<ProxyView> {
    let (_, first) = streams.first()?;
    let mut types = BTreeMap::new();
    let mut answered = true;
    for (_, stream) in streams {
        let Standing { types: of_stream, settled } = stream.standing();
        answered &= match (published, &settled) {
            (Some(Published { snapshot, .. }), Some(settled)) => Arc::ptr_eq(snapshot, settled),
            // A fleet that no Gateway names gets nothing, and has that in force.
            (published, _) => published.is_none(),
        };
        types.extend(of_stream);
    }
    let everywhere = published.is_none_or(|published| published.push == Push::Everywhere);
    let refuses = types.values().any(|standing: &TypeStanding| standing.refused.is_some());
    let tries = |canaries: &[LinkId]| streams.iter().any(|(id, _)| canaries.contains(id));
    let push = published.map(|published| &published.push);
    Some(ProxyView {
        id: first.node.id.clone(),
        zone: first.node.zone.clone(),
        address: first.address.map(|address| address.to_string()),
        connected_since: rfc3339(first.since),
        user_agent: first.node.user_agent.clone(),
        answered,
        in_force: answered && everywhere && !refuses,
        canary: matches!(push, Some(Push::Trying { canaries, .. }) if tries(canaries)),
        types: types
            .into_iter()
            .map(|(kind, standing)| TypeView {
                type_url: kind.type_url().to_owned(),
                sent: standing.sent.map(|version| version.to_string()),
                accepted: standing.accepted.map(|(_, version)| version.to_string()),
                refused: standing.refused.map(|refusal| refusal.refused.into()),
                since: rfc3339(standing.since),
            })
            .collect(),
    })
}

impl From<Refused> for RefusedView {
    fn from(refused: Refused) -> Self {
        let Refused { version, reason, resources: _, cause, retried } = refused;
        let (document, field) = match cause {
            Some(Cause { document, field }) => {
                (Some(document), Some(field).filter(|field| !field.is_empty()))
            }
            None => (None, None),
        };
        Self { version: version.to_string(), reason, document, field, retried }
    }
}
