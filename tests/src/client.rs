//! An HTTP client for tests that are not asynchronous themselves, so that child processes belong to the test's own thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;

/// No answer here takes longer unless something is wrong.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A client with a pool of connections. Clones share the pool.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) http: reqwest::Client,
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// From sending the request to the end of the body.
    pub latency: Duration,
}

impl Answer {
    /// A header's value, if it is there and readable.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.body).with_context(|| format!("not the JSON expected: {}", self.body))
    }
}

impl Client {
    /// A client with connections of its own.
    pub fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { runtime: Arc::new(runtime), http: Self::pool()? })
    }

    /// The same client with new connections.
    pub fn reconnected(&self) -> Result<Self> {
        Ok(Self { runtime: Arc::clone(&self.runtime), http: Self::pool()? })
    }

    /// The same client with a connection of its own that speaks HTTP/2 from the beginning, as gRPC clients do.
    pub fn http2(&self) -> Result<Self> {
        let http = Self::builder().http2_prior_knowledge().build()?;
        Ok(Self { runtime: Arc::clone(&self.runtime), http })
    }

    fn pool() -> Result<reqwest::Client> {
        Ok(Self::builder().build()?)
    }

    fn builder() -> reqwest::ClientBuilder {
        // No proxy from the environment: everything is on this machine.
        reqwest::Client::builder().no_proxy().timeout(TIMEOUT)
    }

    /// Runs something beside everything else, until it or the process ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Sends one request.
    pub fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer> {
        self.runtime.block_on(async {
            let sent = Instant::now();
            let response = request.send().await?;
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            let body = response.bytes().await?;
            let body = String::from_utf8_lossy(&body).into_owned();
            Ok(Answer { status, headers, body, latency: sent.elapsed() })
        })
    }

    /// A request to be completed by the caller and handed to [`Client::send`].
    pub fn request(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        self.http.request(method, url)
    }

    /// GET with these headers.
    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let request =
            headers.iter().fold(self.http.get(url), |request, (name, value)| request.header(*name, *value));
        self.send(request)
    }

    /// GET that must be answered with 200.
    pub fn read(&self, url: &str) -> Result<Answer> {
        let answer = self.get(url, &[]).with_context(|| format!("GET {url}"))?;
        ensure!(answer.status == 200, "GET {url} was answered with {}: {}", answer.status, answer.body);
        Ok(answer)
    }

    /// PUT of a JSON value that must be answered with 200.
    pub fn put(&self, url: &str, value: &Value) -> Result<Answer> {
        let answer = self.send(self.http.put(url).json(value))?;
        ensure!(answer.status == 200, "PUT {url} was answered with {}: {}", answer.status, answer.body);
        Ok(answer)
    }
}
