//! The current request, asked of the host piece by piece.

use std::borrow::Cow;
use std::cell::OnceCell;

use spillway_policy::engine::{self, Needs};

use crate::host::{HeaderMap, Headers, Host};

/// Answers the engine's questions with as few host calls as the configuration allows.
pub(crate) struct Request<'h, H> {
    host: &'h H,
    /// Read at the first question, where more than one can come: all headers cost less than two.
    all: Option<OnceCell<Headers>>,
}

impl<'h, H: Host> Request<'h, H> {
    pub(crate) fn new(host: &'h H, needs: &Needs) -> Self {
        let questions = needs.headers.len() + usize::from(needs.path);
        Self { host, all: (questions > 1).then(OnceCell::new) }
    }

    fn attribute(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        self.host.property(path).ok().filter(|value| !value.is_empty()).map(Cow::Owned)
    }
}

impl<H: Host> engine::Request for Request<'_, H> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        match &self.all {
            Some(all) => {
                let headers = all.get_or_init(|| self.host.headers(HeaderMap::Request).unwrap_or_default());
                headers.get(name).map(Cow::Borrowed)
            }
            None => self.host.header(HeaderMap::Request, name).ok().map(Cow::Owned),
        }
    }

    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.header(":path")
    }

    fn route_name(&self) -> Option<Cow<'_, [u8]>> {
        self.attribute("xds\0route_name")
    }

    fn filter_chain(&self) -> Option<Cow<'_, [u8]>> {
        self.attribute("xds\0filter_chain_name")
    }

    fn backend(&self) -> Option<Cow<'_, [u8]>> {
        self.attribute("xds\0cluster_name")
    }

    fn client_address(&self) -> Option<Cow<'_, [u8]>> {
        self.attribute("source\0address")
    }

    fn server_name(&self) -> Option<Cow<'_, [u8]>> {
        self.attribute("connection\0requested_server_name")
    }
}

#[cfg(test)]
mod tests {
    use spillway_policy::engine::Request as _;

    use super::*;
    use crate::host::fake::Fake;

    fn needs(headers: &[&str], path: bool) -> Needs {
        Needs { headers: headers.iter().map(|&name| name.into()).collect(), path, ..Needs::default() }
    }

    #[test]
    fn one_header_is_read_alone_and_several_together() {
        let host = Fake::default();
        host.request(&[(":path", b"/p"), ("a", b"1"), ("b", b"\xff")]);

        let alone = needs(&["b"], false);
        assert_eq!(Request::new(&host, &alone).header("b").as_deref(), Some(&b"\xff"[..]));
        assert_eq!(host.calls(), ["header b"]);

        let several = needs(&["a", "b"], true);
        let request = Request::new(&host, &several);
        assert_eq!(host.calls(), [""; 0], "nothing is asked before the engine asks");
        assert_eq!(request.header("a").as_deref(), Some(&b"1"[..]));
        assert_eq!(request.header("c"), None);
        assert_eq!(request.path().as_deref(), Some(&b"/p"[..]));
        assert_eq!(host.calls(), ["headers"]);
    }

    #[test]
    fn an_attribute_that_is_empty_is_none() {
        let host = Fake::default();
        host.attribute("xds\0route_name", b"");
        host.attribute("source\0address", b"192.0.2.1:80");
        let request = Request::new(&host, &Needs::default());
        assert_eq!(request.route_name(), None);
        assert_eq!(request.backend(), None);
        assert_eq!(request.client_address().as_deref(), Some(&b"192.0.2.1:80"[..]));
    }
}
