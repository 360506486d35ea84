//! Who may use the API.
//!
//! On loopback whoever is on this machine may, but for web pages in a browser on it: `Host` has to name this machine, which a page that
//! reaches it through a name of its own (DNS rebinding) can't do. Elsewhere a token or a client certificate is asked for.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::body::Caller;
use crate::api::problem::{Problem, ProblemKind};
use crate::discovery::peer::Peer;

mod tokens;

pub use self::tokens::{Tokens, TokensError};

/// What is asked for.
#[derive(Debug)]
pub enum Protection {
    /// Nothing: the address is on loopback.
    Loopback,
    /// One of these tokens. Where client certificates are asked for as well, they have been by the time there is a request.
    Tokens(Tokens),
    /// A client certificate, which the connection has been asked for.
    Certificates,
}

impl Protection {
    /// Tokens from a file.
    pub fn tokens(file: PathBuf) -> Result<Self, TokensError> {
        Tokens::read(file).map(Self::Tokens)
    }

    /// Who asks, or why that is not answered.
    fn caller(&self, request: &Request) -> Result<Caller, Problem> {
        let certificate = || {
            let peer = request.extensions().get::<Peer>();
            Caller(peer.and_then(|peer| peer.names.first().cloned()))
        };
        match self {
            Self::Loopback => {
                let header = request.headers().get(HOST).and_then(|value| value.to_str().ok());
                let host =
                    header.or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str));
                if host.is_some_and(|host| !is_local(host)) {
                    return Err(Problem::new(ProblemKind::InvalidRequest).detail(
                        "Host: expected an address or localhost, because no token is asked for here",
                    ));
                }
                Ok(Caller::default())
            }
            Self::Certificates => Ok(certificate()),
            Self::Tokens(tokens) => {
                let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                let Some((scheme, token)) = header.and_then(|value| value.split_once(' ')) else {
                    return Err(unauthorized("Authorization: Bearer <token> is missing"));
                };
                if !scheme.eq_ignore_ascii_case("bearer") {
                    return Err(unauthorized("Authorization: expected Bearer <token>"));
                }
                match tokens.owner(token.trim()) {
                    Some(Some(name)) => Ok(Caller(Some(name))),
                    Some(None) => Ok(certificate()),
                    None => Err(unauthorized("this token is not known")),
                }
            }
        }
    }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(ProblemKind::Unauthorized).detail(detail)
}

/// Whether a `Host` can't be a name that somebody else controls.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Lets a request through, with its [`Caller`], or answers it.
pub(super) async fn check(
    State(protection): State<Arc<Protection>>,
    mut request: Request,
    next: Next,
) -> Response {
    match protection.caller(&request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_local() {
        for local in ["localhost", "LocalHost:18001", "127.0.0.1:18001", "[::1]:18001", "10.0.0.1"] {
            assert!(is_local(local), "{local}");
        }
        for foreign in ["evil.example", "evil.example:18001", "127.0.0.1.evil.example", "localhost.evil", ""]
        {
            assert!(!is_local(foreign), "{foreign}");
        }
    }
}
