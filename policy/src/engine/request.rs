//! What the engine asks about a request.

use std::borrow::Cow;
use std::rc::Rc;

/// What the engine may ask about a request. Each answer may cost a call to the host, so the engine asks only for what the
/// policies that apply need ([`Engine::needs`](super::Engine::needs) says what that can be), and for each thing at most once a request.
///
/// Answers are bytes: nothing here is assumed to be UTF-8. `None` is "there is none".
pub trait Request {
    /// A request header's value by its lower-case name; several values as the host joins them.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;
    /// `:path`, with the query if there is one.
    fn path(&self) -> Option<Cow<'_, [u8]>>;
    /// The name of the route that the proxy chose (`xds.route_name`).
    fn route_name(&self) -> Option<Cow<'_, [u8]>>;
    /// The name of the filter chain that accepted the connection (`xds.filter_chain_name`).
    fn filter_chain(&self) -> Option<Cow<'_, [u8]>>;
    /// The cluster that the route leads to (`xds.cluster_name`), which is the Backend's name.
    fn backend(&self) -> Option<Cow<'_, [u8]>>;
    /// The client's address as text, with or without port: `192.0.2.1:4242`, `[2001:db8::1]:4242`, `2001:db8::1`.
    fn client_address(&self) -> Option<Cow<'_, [u8]>>;
    /// The server name of the client's TLS handshake (`connection.requested_server_name`).
    fn server_name(&self) -> Option<Cow<'_, [u8]>>;
}

/// What an engine's configuration can make it ask, and whether it wants to hear how requests end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Needs {
    /// The headers, by lower-case name.
    pub headers: Vec<Rc<str>>,
    /// The path.
    pub path: bool,
    /// The route's name.
    pub route_name: bool,
    /// The filter chain's name.
    pub filter_chain: bool,
    /// The backend.
    pub backend: bool,
    /// The client's address.
    pub client_address: bool,
    /// The server name.
    pub sni: bool,
    /// Whether [`Outcome::latency`](super::Outcome::latency) is looked at.
    pub latency: bool,
    /// Whether [`Engine::complete`](super::Engine::complete) does anything for any admission.
    pub outcomes: bool,
}
