//! Asks everybody again and again, each at its own pace, so that nobody waits for one that is slow.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use super::model::Said;
use crate::api::Documents;
use crate::cli::client::{Client, ClientError, Page};
use crate::fleet::FleetView;

/// Who has not answered by then does not answer.
const LIMIT: Duration = Duration::from_secs(10);

/// The control plane spends at most one part of so many of its time on us: ten thousand proxies make a long answer.
const SHARE: u32 = 10;

/// Answers that may wait: they come a few a second, and are taken at once.
const WAITING: usize = 64;

/// Who is asked, and how often.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) server: Client,
    pub(super) sources: Vec<Page>,
    pub(super) interval: Duration,
    /// Whether being told to end is to be heard too, instead of just ending.
    pub(super) with_signals: bool,
}

/// Which Routes are known.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    /// Those of this revision, the newest of any fleet.
    Of(Option<u64>),
}

/// What comes of it.
#[derive(Debug)]
pub(super) enum Heard {
    /// Somebody has answered, at this time.
    Said(Instant, Said),
    /// The process was told to end, by this signal.
    Signal(i32),
}

/// What is heard, as long as this is kept.
#[derive(Debug)]
pub(super) struct Hearing {
    heard: Option<Receiver<Heard>>,
    thread: Option<JoinHandle<()>>,
}

impl Asked {
    /// Begins to ask, in a thread of its own.
    pub(super) fn start(self) -> anyhow::Result<Hearing> {
        let (sender, receiver) = channel(WAITING);
        // From here on no signal leaves a screen behind that was drawn on.
        let signals = if self.with_signals { self.server.wait(async { signals() })? } else { Vec::new() };
        let thread = std::thread::Builder::new().name("poll".to_owned());
        let thread = thread.spawn(move || {
            self.server.wait(async {
                tokio::select! {
                    // The screen was left; nobody wants to know any more.
                    () = sender.closed() => {}
                    () = self.ask(signals, &sender) => {}
                }
            });
        })?;
        Ok(Hearing { heard: Some(receiver), thread: Some(thread) })
    }

    async fn ask(&self, signals: Vec<(i32, Signal)>, heard: &Sender<Heard>) {
        let sources = self.sources.iter().enumerate();
        let sources = sources.map(|(number, page)| self.ask_source(number, page, heard));
        let signals = signals.into_iter().map(|(number, mut signal)| async move {
            while signal.recv().await.is_some() {
                drop(heard.send(Heard::Signal(number)).await);
            }
        });
        tokio::join!(self.ask_server(heard), join_all(sources), join_all(signals));
    }

    async fn ask_server(&self, heard: &Sender<Heard>) {
        let mut known = Known::Nothing;
        loop {
            let asked = Instant::now();
            let late = |_| Err(format!("does not answer within {LIMIT:?}"));
            let answer = timeout(LIMIT, self.fleets(&mut known)).await.unwrap_or_else(late);
            // What it took to say nothing was no work for it.
            let work = if answer.is_ok() { asked.elapsed() } else { Duration::ZERO };
            if heard.send(Heard::Said(Instant::now(), Said::Server(answer))).await.is_err() {
                return;
            }
            sleep(self.interval.saturating_sub(asked.elapsed()).max(work * (SHARE - 1))).await;
        }
    }

    async fn fleets(&self, known: &mut Known) -> Result<(Vec<FleetView>, Option<Documents>), String> {
        let client = &self.server;
        let shortened = |error: ClientError| {
            let text = error.to_string();
            text.strip_prefix(client.url()).unwrap_or(&text).trim_start().to_owned()
        };
        let fleets: Vec<FleetView> = client.fetch("fleets").await.map_err(shortened)?;
        let newest = fleets.iter().filter_map(|fleet| fleet.revision).max();
        if *known == Known::Of(newest) {
            return Ok((fleets, None));
        }
        let routes = client.fetch("documents?kind=Route").await.map_err(shortened)?;
        *known = Known::Of(newest);
        Ok((fleets, Some(routes)))
    }

    async fn ask_source(&self, number: usize, page: &Page, heard: &Sender<Heard>) {
        loop {
            let asked = Instant::now();
            let answer = page.text(LIMIT).await;
            if heard.send(Heard::Said(Instant::now(), Said::Source(number, answer))).await.is_err() {
                return;
            }
            sleep(self.interval.saturating_sub(asked.elapsed())).await;
        }
    }
}

/// Those that would end the process.
fn signals() -> std::io::Result<Vec<(i32, Signal)>> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    kinds.into_iter().map(|kind| Ok((kind.as_raw_value(), signal(kind)?))).collect()
}

impl Hearing {
    /// Waits for the next thing.
    pub(super) fn wait(&mut self) -> anyhow::Result<Heard> {
        let heard = self.heard.as_mut().and_then(Receiver::blocking_recv);
        heard.ok_or_else(|| anyhow::anyhow!("nobody is asked any more"))
    }

    /// The next thing, if there is one already.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Heard>> {
        match self.heard.as_mut().map(Receiver::try_recv) {
            Some(Ok(heard)) => Ok(Some(heard)),
            Some(Err(tokio::sync::mpsc::error::TryRecvError::Empty)) => Ok(None),
            Some(Err(_)) | None => anyhow::bail!("nobody is asked any more"),
        }
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        drop(self.heard.take());
        if let Some(thread) = self.thread.take() {
            // It ends as soon as nobody listens; if it has panicked, that has been said.
            drop(thread.join());
        }
    }
}
