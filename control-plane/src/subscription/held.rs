//! What a client has, as far as this side can know: what it was sent, and what it said to that.

use std::sync::Arc;

use crate::snapshot::{Resource, Version};

/// What a client has under one name.
#[derive(Debug)]
pub(super) struct Held {
    /// What it was sent last. `None`: that there is no such resource.
    version: Option<Version>,
    /// What it has accepted last.
    accepted: Option<Version>,
    /// State of the world: a removal is held back by sending the resource again.
    resource: Option<Arc<Resource>>,
    refused: bool,
}

/// How a client stands to one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Whether it was told anything yet.
    pub told: bool,
    /// What it was sent last. `None`: that there is no such resource.
    pub sent: Option<&'a Version>,
    /// What it has in force, as far as it was sent on this stream.
    pub accepted: Option<&'a Version>,
    /// Whether it refuses what it was sent last.
    pub refused: bool,
}

impl Held {
    /// It was told that there is no such resource.
    pub(super) fn absent() -> Self {
        Self { version: None, accepted: None, resource: None, refused: false }
    }

    /// It says that it has this from an earlier stream.
    pub(super) fn brought(version: Version) -> Self {
        Self { accepted: Some(Arc::clone(&version)), version: Some(version), resource: None, refused: false }
    }

    /// It is sent this, or is known to have it, or to refuse it.
    pub(super) fn sent(&mut self, version: Version, resource: Option<Arc<Resource>>, refused: bool) {
        self.version = Some(version);
        self.resource = resource;
        self.refused = refused;
    }

    /// Its answer to having been sent `version`, which counts only if nothing was sent since.
    pub(super) fn answered(&mut self, version: Option<&Version>, refuses: bool) {
        if self.version.as_ref() == version {
            self.refused = refuses;
            if !refuses {
                self.accepted.clone_from(&self.version);
            }
        }
    }

    /// Whether this version is what it has accepted last.
    pub(super) fn has_accepted(&self, version: Option<&Version>) -> bool {
        version.is_some() && self.accepted.as_ref() == version
    }

    /// It is known to have accepted what it was sent last.
    pub(super) fn settled(&mut self) {
        self.accepted.clone_from(&self.version);
    }

    /// Whether it was told that there is no such resource.
    pub(super) fn is_absent(&self) -> bool {
        self.version.is_none()
    }

    /// Whether this is what it was sent last.
    pub(super) fn is(&self, resource: &Resource) -> bool {
        self.version.as_ref() == Some(resource.version())
    }

    /// Whether it refuses what it was sent last.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// What it was sent last, in the variant that keeps it.
    pub(super) fn resource(&self) -> Option<&Arc<Resource>> {
        self.resource.as_ref()
    }

    /// What can be told about it.
    pub(super) fn standing(&self) -> Standing<'_> {
        Standing {
            told: true,
            sent: self.version.as_ref(),
            accepted: self.accepted.as_ref(),
            refused: self.refused,
        }
    }
}
