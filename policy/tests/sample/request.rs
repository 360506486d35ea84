//! A request whose answers cost nothing, for what measures the engine from outside.

use std::borrow::Cow;

use spillway_policy::config::Configuration;
use spillway_policy::engine::{Engine, Request};

/// A request with one header, a path and a backend.
pub(crate) struct Asked {
    pub(crate) tenant: &'static [u8],
    pub(crate) path: &'static [u8],
}

impl Request for Asked {
    fn header(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.tenant))
    }
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.path))
    }
    fn route_name(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"orders/api"))
    }
    fn filter_chain(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    fn backend(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"orders-v1"))
    }
    fn client_address(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"192.0.2.7:4242"))
    }
    fn server_name(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
}

/// An engine with one policy.
pub(crate) fn engine(policy: &str) -> Engine {
    let configuration = format!(r#"{{"policies": [{policy}]}}"#);
    Engine::new(Configuration::parse(configuration.as_bytes()).unwrap()).unwrap()
}
