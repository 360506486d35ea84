//! The admin API as it is spoken: what goes over the wire in either direction, for the server in [`crate::admin`], for the commands
//! that are its clients, and for the `OpenAPI` document that describes it. Nothing here does anything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::kind::Kind;
use crate::fleet::{ProxyView, RefusedView};
use crate::model::Model;
use crate::store::difference::{Action, FieldChange};
use crate::store::{Kept, Revision};

pub mod openapi;
pub mod problem;
pub mod yaml;

/// Where the API is.
pub const PREFIX: &str = "/api/v1";

/// The header that names who wants a change, where the token does not.
pub const AUTHOR: &str = "x-spillway-author";

/// The largest number of a revision that a request may name.
pub const MAX_REVISION: u64 = 0xffff_ffff;

/// Some documents of those in force.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Documents {
    /// The newest revision; also the entity tag.
    pub revision: u64,
    /// In the order of kinds and names.
    pub documents: Vec<Listed>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// Its kind.
    #[schemars(schema_with = "kind_schema")]
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The revision that last changed it; also its entity tag.
    pub revision: u64,
    /// The document as it was written, without comments.
    #[schemars(schema_with = "document_schema")]
    pub document: Value,
}

/// A kind and a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The kind.
    #[schemars(schema_with = "kind_schema")]
    pub kind: Kind,
    /// The name.
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63))]
    pub name: String,
}

/// A text with documents in it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// What errors call it, such as the name of the file that it was read from.
    #[schemars(length(min = 1, max = 4096))]
    pub name: String,
    /// YAML (JSON is YAML too), one document or several.
    pub text: String,
}

/// Documents to put in place and documents to remove: all of it happens or nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplyRequest {
    /// Documents to add or to replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Text>,
    /// Documents to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<Reference>,
    /// Why, for the history.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 10_000))]
    pub message: String,
}

/// What is to be compared.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "either files (with complete) or from and to")]
pub enum DiffRequest {
    /// What is in force with what it would be.
    Documents(DiffDocuments),
    /// One revision with another.
    Revisions(DiffRevisions),
}

/// What is in force is compared with what it would be.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffDocuments {
    /// Documents to compare with.
    pub files: Vec<Text>,
    /// Whether these are all documents that there would be; otherwise they would be added or replaced, and all others stay.
    pub complete: bool,
}

/// Two revisions are compared.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffRevisions {
    /// The earlier revision.
    #[schemars(range(min = 1))]
    pub from: u64,
    /// The later revision; the newest where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub to: Option<u64>,
}

/// What differs for one fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetDifference {
    /// The fleet.
    pub fleet: String,
    /// Its resources that differ, by type and name.
    pub resources: Vec<ResourceChange>,
}

/// What happened to one of Envoy's resources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceChange {
    /// Its type.
    pub type_url: String,
    /// Its name.
    pub name: String,
    /// What happened.
    pub action: Action,
    /// The fields that differ.
    pub fields: Vec<FieldChange>,
}

/// The resources that differ between two models, fleet by fleet.
pub fn difference(before: &Model, after: &Model) -> Vec<FleetDifference> {
    let fleets = crate::snapshot::difference::difference(before, after).into_iter();
    let resource = |change: crate::snapshot::difference::ResourceChange| ResourceChange {
        type_url: change.kind.type_url().to_owned(),
        name: change.name,
        action: change.action,
        fields: change.fields,
    };
    fleets
        .map(|(fleet, resources)| FleetDifference {
            fleet,
            resources: resources.into_iter().map(resource).collect(),
        })
        .collect()
}

/// To which revision's documents to return.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The revision.
    #[schemars(range(min = 1))]
    pub to: u64,
    /// Why, for the history.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 10_000))]
    pub message: String,
}

/// Revisions, the newest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RevisionList {
    /// Which are kept, and where.
    pub kept: Kept,
    /// Those that were asked for.
    pub revisions: Vec<Revision>,
}

/// A connected proxy and its fleet.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FleetProxy {
    /// The fleet.
    pub fleet: String,
    /// The proxy.
    pub proxy: ProxyView,
}

/// What `GET /events` tells. The name of an event is its `event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Event {
    /// A revision was accepted. No revision is left out.
    Revision {
        /// Its number; also the event's id.
        revision: u64,
        /// Who made it.
        author: String,
        /// And why.
        message: String,
    },
    /// A proxy has connected.
    Connected {
        /// Its fleet.
        fleet: String,
        /// Its `node.id`.
        proxy: String,
        /// Where it connects from.
        address: Option<String>,
    },
    /// A proxy is gone.
    Disconnected {
        /// Its fleet.
        fleet: String,
        /// Its `node.id`.
        proxy: String,
    },
    /// A proxy has accepted a version. Of versions in quick succession a slow reader sees the last.
    Accepted {
        /// Its fleet.
        fleet: String,
        /// Its `node.id`.
        proxy: String,
        /// The type of resource.
        type_url: String,
        /// The version.
        version: String,
    },
    /// A proxy has refused a version.
    Refused {
        /// Its fleet.
        fleet: String,
        /// Its `node.id`.
        proxy: String,
        /// The type of resource.
        type_url: String,
        /// What it refuses, and why.
        refused: RefusedView,
    },
    /// What a fleet should have, or whether all of its proxies have it, has changed.
    Fleet {
        /// The fleet.
        fleet: String,
        /// The newest revision of its documents; null if no Gateway names it.
        revision: Option<u64>,
        /// Whether every connected proxy has accepted everything of that revision.
        in_force: bool,
    },
}

impl Event {
    /// The event's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Revision { .. } => "revision",
            Self::Connected { .. } => "connected",
            Self::Disconnected { .. } => "disconnected",
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::Fleet { .. } => "fleet",
        }
    }
}

/// The names of the kinds.
pub(crate) fn kind_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": Kind::ALL.map(Kind::name) })
}

/// What `spillway schema` prints, in short.
pub(crate) fn document_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "A document; `spillway schema` has its whole schema.",
        "properties": {
            "apiVersion": { "const": crate::document::API_VERSION },
            "kind": { "type": "string" },
            "metadata": { "type": "object" },
            "spec": { "type": "object" },
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
    })
}
