//! Who is at the other end of a connection, as far as the connection tells.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConnection;
use webpki::EndEntityCert;

/// The client of one connection. What a stream's first request says about its node is the client's own claim; this is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where it connects from; `None` where the transport has no addresses.
    pub address: Option<SocketAddr>,
    /// The DNS names and URIs (such as SPIFFE IDs) in its certificate, which an authority of ours has signed. Empty without one.
    pub names: Arc<[String]>,
}

impl Peer {
    /// The peer that a request came from, which the transport has entered among its extensions.
    pub(super) fn of(extensions: &http::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// The peer of a connection without TLS.
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { address: Some(address), names: Arc::default() }
    }

    /// The peer of a TLS connection whose handshake is done.
    pub(super) fn authenticated(address: SocketAddr, connection: &ServerConnection) -> Self {
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        // It has been verified, so it can be parsed.
        let parsed = certificate.and_then(|certificate| EndEntityCert::try_from(certificate).ok());
        let names = parsed.map(|parsed| {
            parsed.valid_dns_names().chain(parsed.valid_uri_names()).map(ToOwned::to_owned).collect()
        });
        Self { address: Some(address), names: names.unwrap_or_default() }
    }
}
