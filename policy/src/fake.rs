//! A request for tests, which answers what it was given.

use std::borrow::Cow;

use crate::engine::Request;

#[derive(Debug, Clone, Default)]
pub(crate) struct Fake {
    headers: Vec<(String, Vec<u8>)>,
}

impl Fake {
    pub(crate) fn path(self, path: &str) -> Self {
        self.header(":path", path.as_bytes())
    }

    pub(crate) fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl Request for Fake {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_slice().into())
    }

    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.headers.iter().find(|(known, _)| known == ":path").map(|(_, value)| value.as_slice().into())
    }

    fn route_name(&self) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn filter_chain(&self) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn backend(&self) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn client_address(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
}
