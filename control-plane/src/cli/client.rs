//! The client of the admin API that every client command uses. It speaks HTTP/1.1 over one connection per request: a command makes a
//! handful of them.
//!
//! It blocks, as commands do; what goes wrong is one readable line ([`ClientError`]).

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::api::problem::{self, Problem, ProblemKind};
use crate::telemetry::TRACEPARENT;

mod connection;
mod events;
mod page;
mod request;
mod token;

use self::connection::{EXPECTED, Target};
pub(super) use self::events::Events;
pub(super) use self::page::Page;
pub(super) use self::request::{Request, escaped};

/// How long a server may take to answer. Applying many documents means checking all of them.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Larger answers are no admin API's.
const MAX_ANSWER: usize = 256 << 20;

/// Which server, and how to be let in. Flags of every client command.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Server")]
#[expect(clippy::struct_field_names, reason = "the field is the flag's name")]
pub(super) struct Server {
    /// The admin address of the control plane
    #[arg(long, value_name = "URL", env = "SPILLWAY_SERVER", default_value = "http://127.0.0.1:18001")]
    server: String,
    /// A file with the token that the server asks for
    #[arg(long, value_name = "FILE", env = "SPILLWAY_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// PEM certificates to trust for an https server, instead of the system's
    #[arg(long, value_name = "FILE", env = "SPILLWAY_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// This client's certificate (PEM), where the server asks for one
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// Why a request did not succeed, in one line.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody answers, or not to the end.
    #[error("{url} does not answer: {reason}")]
    Away {
        /// The server.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// Somebody answers, but not this API.
    #[error("{url} is no Spillway admin address: {reason}")]
    NotSpillway {
        /// The server.
        url: String,
        /// How that can be told.
        reason: String,
    },
    /// The server wants a token, or another one.
    #[error("{url} {}", if *.given { "does not know this token: see --token-file" } else { "asks for a token: give one with --token-file" })]
    Unauthorized {
        /// The server.
        url: String,
        /// Whether a token was sent.
        given: bool,
    },
    /// The server says why not.
    #[error("{}", .0.detail.as_deref().unwrap_or(&.0.title))]
    Refused(Box<Problem>),
}

/// A client of one server.
#[derive(Debug)]
pub(super) struct Client {
    runtime: tokio::runtime::Runtime,
    target: Target,
    authorization: Option<HeaderValue>,
}

impl Server {
    /// Reads the files that the flags name. Nothing is sent yet.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let identity = self.cert.as_deref().zip(self.key.as_deref());
        let target = Target::new("--server", &self.server, self.ca_file.as_deref(), identity)?;
        ensure!(target.query().is_none(), "--server {}: {EXPECTED}", self.server);
        ensure!(
            target.is_tls() || (self.ca_file.is_none() && identity.is_none()),
            "--server {} is not https: certificates have no use there",
            self.server
        );
        let authorization = self.token_file.as_deref().map(token::read).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Client { runtime, target, authorization })
    }
}

impl Client {
    /// The server, as the user named it.
    pub(super) fn url(&self) -> &str {
        self.target.url()
    }

    /// What stands under a path below `/api/v1/`.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.wait(self.fetch(path))
    }

    /// The same for one who asks for several things at a time.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(&self.answer(Request::new(Method::GET, path), "application/json").await?)
    }

    /// Waits for something that needs this client's runtime.
    pub(super) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    /// The YAML that stands under a path below `/api/v1/`.
    pub(super) fn text(&self, path: &str) -> Result<String, ClientError> {
        let body = self.wait(self.answer(Request::new(Method::GET, path), "application/yaml"))?;
        String::from_utf8(body.into()).map_err(|error| self.not_spillway(format!("its answer: {error}")))
    }

    /// Sends a request and reads the answer.
    pub(super) fn send<T: DeserializeOwned>(&self, request: Request) -> Result<T, ClientError> {
        self.read(&self.wait(self.answer(request, "application/json"))?)
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| self.not_spillway(format!("its answer: {error}")))
    }

    async fn answer(&self, request: Request, accept: &'static str) -> Result<Bytes, ClientError> {
        let answer = async {
            let response = self.start(request, accept).await?;
            self.body(response.into_body()).await
        };
        let late = |_| Err(self.away(format!("no answer within {ANSWER_TIMEOUT:?}")));
        timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(late)
    }

    /// The server's events from now on.
    pub(super) fn events(&self) -> Result<Events<'_>, ClientError> {
        let response = self.runtime.block_on(async {
            let answer = self.start(Request::new(Method::GET, "events"), "text/event-stream");
            timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(|_| Err(self.away("no answer in time")))
        })?;
        Ok(Events::new(self, response.into_body()))
    }

    /// Sends a request; the answer is a success whose body is still to be read.
    async fn start(
        &self,
        request: Request,
        accept: &'static str,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let request = self.message(request, accept)?;
        let mut connection = self.target.connect().await.map_err(|reason| self.away(reason))?;
        let response = connection.send_request(request).await.map_err(|error| self.away(cause(&error)))?;
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type =
            media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
        let status = response.status();
        if status.is_success() {
            if media_type == accept {
                return Ok(response);
            }
            return Err(self.not_spillway(format!("it answers with {media_type:?}")));
        }
        if media_type != problem::MEDIA_TYPE {
            return Err(self.not_spillway(format!("it answers {status}")));
        }
        let body = self.body(response.into_body()).await?;
        let problem: Problem = serde_json::from_slice(&body)
            .map_err(|error| self.not_spillway(format!("it answers {status} and {error}")))?;
        Err(match problem.kind {
            ProblemKind::Unauthorized => {
                ClientError::Unauthorized { url: self.url().to_owned(), given: self.authorization.is_some() }
            }
            _ => ClientError::Refused(Box::new(problem)),
        })
    }

    fn message(
        &self,
        request: Request,
        accept: &'static str,
    ) -> Result<http::Request<Full<Bytes>>, ClientError> {
        let Request { method, path, body, traceparent } = request;
        let path = format!("{}/api/v1/{path}", self.target.prefix());
        let mut message = http::Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.target.authority())
            .header(ACCEPT, format!("{accept}, {}", problem::MEDIA_TYPE))
            .header(USER_AGENT, concat!("spillway/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.authorization {
            message = message.header(AUTHORIZATION, token);
        }
        if let Some(author) = author() {
            message = message.header("x-spillway-author", author);
        }
        if let Some(traceparent) = traceparent {
            message = message.header(TRACEPARENT, traceparent);
        }
        if body.is_some() {
            message = message.header(CONTENT_TYPE, "application/json");
        }
        message.body(Full::new(body.unwrap_or_default())).map_err(|error| self.away(cause(&error)))
    }

    async fn body(&self, body: Incoming) -> Result<Bytes, ClientError> {
        whole(body).await.map_err(|reason| self.away(reason))
    }

    fn away(&self, reason: impl Into<String>) -> ClientError {
        ClientError::Away { url: self.url().to_owned(), reason: reason.into() }
    }

    fn not_spillway(&self, reason: String) -> ClientError {
        ClientError::NotSpillway { url: self.url().to_owned(), reason }
    }
}

/// A body to its end, or why not.
async fn whole(mut body: Incoming) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| cause(&error))?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MAX_ANSWER {
            return Err("its answer does not end".to_owned());
        }
    }
    Ok(bytes.freeze())
}

/// Who uses the command, where the server does not know better.
fn author() -> Option<HeaderValue> {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok()?;
    HeaderValue::from_str(user.trim()).ok().filter(|user| !user.is_empty())
}

/// An error with what caused it, in one line.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
