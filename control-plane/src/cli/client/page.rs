//! One page of somebody else's, such as the metrics of an Envoy.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http_body_util::Full;
use tokio::time::timeout;

use super::connection::Target;
use super::{Server, cause, whole};

/// Media types that are text, whichever version of a format it is of.
const TEXT: &str = "text/plain";

/// Where a page is, and how to get there.
#[derive(Debug)]
pub(in crate::cli) struct Page {
    target: Target,
    path: String,
}

impl Server {
    /// A page that is not this server's: the token stays here. An https one is trusted as this server is.
    ///
    /// `missing` says what is to be asked for where a URL has no query of its own, by its path.
    pub(in crate::cli) fn page(
        &self,
        flag: &str,
        url: &str,
        missing: impl FnOnce(&str) -> Option<String>,
    ) -> anyhow::Result<Page> {
        let is_tls = url.starts_with("https://");
        let ca_file = self.ca_file.as_deref().filter(|_| is_tls);
        let identity = self.cert.as_deref().zip(self.key.as_deref()).filter(|_| is_tls);
        let target = Target::new(flag, url, ca_file, identity)?;
        let path = match target.query() {
            Some(query) => format!("{}?{query}", target.prefix()),
            None => missing(target.prefix()).unwrap_or_else(|| target.prefix().to_owned()),
        };
        Ok(Page { target, path })
    }
}

impl Page {
    /// Its text, or in a few words why it can't be had.
    pub(in crate::cli) async fn text(&self, limit: Duration) -> Result<String, String> {
        let late = |_| Err(format!("does not answer within {limit:?}"));
        timeout(limit, self.ask()).await.unwrap_or_else(late)
    }

    async fn ask(&self) -> Result<String, String> {
        let request = http::Request::get(&self.path)
            .header(HOST, self.target.authority())
            .header(ACCEPT, TEXT)
            .header(USER_AGENT, concat!("spillway/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::new()))
            .map_err(|error| error.to_string())?;
        let away = |reason: String| format!("does not answer: {reason}");
        let mut connection = self.target.connect().await.map_err(away)?;
        let response = connection.send_request(request).await.map_err(|error| away(cause(&error)))?;
        if !response.status().is_success() {
            return Err(format!("answers {}", response.status()));
        }
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default();
        if !media_type.starts_with(TEXT) {
            return Err(format!("answers with {media_type:?}, which is no metrics"));
        }
        let body = whole(response.into_body()).await.map_err(away)?;
        String::from_utf8(body.into()).map_err(|error| format!("answers with what is no text: {error}"))
    }
}
