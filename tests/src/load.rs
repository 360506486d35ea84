//! Load at a fixed concurrency, every answer recorded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::header::HeaderName;
use tokio::task::JoinSet;

use crate::client::Client;

const NUMBER: &str = "{n}";

/// What to send, and how much of it.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub url: String,
    /// Sent with every request; `{n}` in a value stands for the request's number.
    pub headers: Vec<(String, String)>,
    /// So many requests are under way at any time, each on a connection of its own.
    pub concurrency: usize,
    /// The load ends by itself after so many requests. The bound on memory, too.
    pub requests: usize,
    /// Waited by each of the concurrent senders between an answer and its next request.
    pub pause: Duration,
}

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it was sent.
    pub sent: Instant,
    /// When its answer had arrived.
    pub answered: Instant,
    /// What the answer was, or why there was none.
    pub outcome: Result<Outcome, String>,
}

/// What of an answer is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The status.
    pub status: u16,
    /// `x-upstream`: who answered.
    pub upstream: Option<String>,
    /// `x-spillway-rejected-by`: the rule that rejected.
    pub rejected_by: Option<String>,
}

impl Record {
    /// The answer's status; `None` if there was no answer.
    pub fn status(&self) -> Option<u16> {
        self.outcome.as_ref().ok().map(|outcome| outcome.status)
    }

    /// Who answered.
    pub fn upstream(&self) -> Option<&str> {
        self.outcome.as_ref().ok()?.upstream.as_deref()
    }
}

/// Load that is being sent.
#[derive(Debug)]
pub struct Running {
    client: Client,
    stop: Arc<AtomicBool>,
    senders: JoinSet<()>,
    records: Arc<Mutex<Vec<Record>>>,
}

/// Everything that became of a load.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order in which answers arrived.
    pub records: Vec<Record>,
}

impl Load {
    /// GET without pauses, 16 at a time, 10,000 times.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            concurrency: 16,
            requests: 10_000,
            pause: Duration::ZERO,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With so many at a time.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// With so many in all.
    #[must_use]
    pub fn requests(mut self, requests: usize) -> Self {
        self.requests = requests;
        self
    }

    /// With a pause of each sender after each answer.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Sends it and waits for the last answer.
    pub fn run(self, client: &Client) -> Result<Report> {
        self.start(client)?.wait()
    }

    /// Sends it in the background.
    pub fn start(self, client: &Client) -> Result<Running> {
        let http = client.http.clone();
        let template = Arc::new(Template::new(&http, &self)?);
        let records = Arc::new(Mutex::new(Vec::with_capacity(self.requests.min(1 << 20))));
        let stop = Arc::new(AtomicBool::new(false));
        let left = Arc::new(AtomicUsize::new(self.requests));
        let mut senders = JoinSet::new();
        for _ in 0..self.concurrency {
            let (http, template) = (http.clone(), Arc::clone(&template));
            let (records, stop, left) = (Arc::clone(&records), Arc::clone(&stop), Arc::clone(&left));
            let sender = async move {
                while !stop.load(Ordering::Relaxed)
                    && let Some(number) = take_one(&left)
                {
                    let record = exchange(&http, &template, number).await;
                    records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
                    if !self.pause.is_zero() {
                        tokio::time::sleep(self.pause).await;
                    }
                }
            };
            senders.spawn_on(sender, client.runtime.handle());
        }
        Ok(Running { client: client.clone(), stop, senders, records })
    }
}

/// A request that is sent many times.
struct Template {
    request: reqwest::Request,
    /// Headers whose values differ from request to request.
    numbered: Vec<(HeaderName, String)>,
}

impl Template {
    /// Reads the URL and the headers once; what is wrong with them is said here.
    fn new(http: &reqwest::Client, load: &Load) -> Result<Self> {
        let mut request = http.get(&load.url);
        let mut numbered = Vec::new();
        for (name, value) in &load.headers {
            if value.contains(NUMBER) {
                numbered.push((name.parse().context("not a header's name")?, value.clone()));
            } else {
                request = request.header(name, value);
            }
        }
        Ok(Self { request: request.build().context("no such request can be sent")?, numbered })
    }

    fn number(&self, number: usize) -> Result<reqwest::Request> {
        let mut request = self.request.try_clone().context("the request cannot be sent twice")?;
        for (name, value) in &self.numbered {
            let value = value.replace(NUMBER, &number.to_string()).parse().context("not a header's value")?;
            request.headers_mut().insert(name.clone(), value);
        }
        Ok(request)
    }
}

/// The number of the next request, counted down.
fn take_one(left: &AtomicUsize) -> Option<usize> {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()
}

async fn exchange(http: &reqwest::Client, template: &Template, number: usize) -> Record {
    let request = template.number(number);
    let sent = Instant::now();
    let outcome = match request {
        Ok(request) => answer(http, request).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    Record { sent, answered: Instant::now(), outcome: outcome.map_err(|error| format!("{error:#}")) }
}

async fn answer(http: &reqwest::Client, request: reqwest::Request) -> reqwest::Result<Outcome> {
    let response = http.execute(request).await?;
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (upstream, rejected_by) = (header("x-upstream"), header("x-spillway-rejected-by"));
    let status = response.status().as_u16();
    // The answer counts when it is complete: a body that breaks off is a failure.
    response.bytes().await?;
    Ok(Outcome { status, upstream, rejected_by })
}

impl Running {
    /// How many answers there are.
    pub fn answers(&self) -> usize {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The answers so far from number `first` on.
    pub fn since(&self, first: usize) -> Vec<Record> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.get(first..).unwrap_or_default().to_vec()
    }

    /// Whether requests are still being sent. A load that ended before what it should have witnessed proves nothing.
    pub fn going_on(&mut self) -> Result<()> {
        while self.senders.try_join_next().is_some() {}
        ensure!(
            !self.senders.is_empty(),
            "the load ended too early, with {:?}: give it more requests",
            Report { records: self.since(0) }.other_than(&[])
        );
        Ok(())
    }

    /// Stops sending, waits for the answers that are due, and gives all of them.
    pub fn finish(mut self) -> Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        self.end()
    }

    /// Stops sending, and is an error unless requests were sent up to now and every one was answered 200.
    pub fn unharmed(mut self) -> Result<()> {
        self.going_on()?;
        let others = self.finish()?.other_than(&[200]);
        ensure!(others.is_empty(), "not answered with 200: {others:?}");
        Ok(())
    }

    /// Waits until all requests were sent and answered.
    pub fn wait(mut self) -> Result<Report> {
        self.end()
    }

    fn end(&mut self) -> Result<Report> {
        let Self { client, senders, records, .. } = self;
        client.runtime.block_on(async {
            while let Some(ended) = senders.join_next().await {
                ended.context("a sender broke")?;
            }
            anyhow::Ok(())
        })?;
        let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Report { records: std::mem::take(&mut *records) })
    }
}

impl Report {
    /// How many answers had this status.
    pub fn count(&self, status: u16) -> usize {
        self.records.iter().filter(|record| record.status() == Some(status)).count()
    }

    /// How many answers came from this upstream with status 200.
    pub fn served_by(&self, upstream: &str) -> usize {
        self.records.iter().filter(|r| r.status() == Some(200) && r.upstream() == Some(upstream)).count()
    }

    /// Requests that were neither answered by one of these statuses, each with the reason; empty is what a hitless change means.
    pub fn other_than(&self, statuses: &[u16]) -> BTreeMap<String, usize> {
        let mut others = BTreeMap::new();
        for record in &self.records {
            let reason = match &record.outcome {
                Ok(outcome) if statuses.contains(&outcome.status) => continue,
                Ok(outcome) => match &outcome.rejected_by {
                    Some(rule) => format!("{} by {rule}", outcome.status),
                    None => format!("{}", outcome.status),
                },
                Err(error) => error.clone(),
            };
            *others.entry(reason).or_insert(0) += 1;
        }
        others
    }

    /// From the first request sent to the last answer.
    pub fn elapsed(&self) -> Duration {
        let first = self.records.iter().map(|record| record.sent).min();
        let last = self.records.iter().map(|record| record.answered).max();
        first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first)
    }
}

/// The value below which this share (0 to 1) of the values lies; `None` of nothing.
pub fn quantile<T: Ord + Copy>(values: &[T], share: f64) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small counts"
    )]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().checked_sub(1)?)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<u32> = (1..=100).collect();
        assert_eq!(quantile(&values, 0.5), Some(50));
        assert_eq!(quantile(&values, 0.99), Some(99));
        assert_eq!(quantile(&values, 1.0), Some(100));
        assert_eq!(quantile(&values, 0.0), Some(1));
        assert_eq!(quantile::<u32>(&[], 0.5), None);
    }

    #[test]
    fn requests_that_nobody_answers_are_failures() {
        let port = crate::ports::Port::free().unwrap();
        let client = Client::new().unwrap();
        let report = Load::get(format!("http://{}/", port.address())).requests(20).run(&client).unwrap();
        assert_eq!(report.records.len(), 20);
        assert_eq!(report.other_than(&[200]).values().sum::<usize>(), 20);
    }
}
