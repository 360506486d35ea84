//! One client's stream: moves requests, snapshots and responses between tonic, the cache and the state machine.

use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status, Streaming};
use tracing::{Instrument, Span, debug, info, info_span, warn};

use super::clients::{Client, Open};
use super::peer::Peer;
use super::{Context, MAX_REQUEST};
use crate::fleet::{Link, Refused};
use crate::refusal::{redact::redact, trace::trace};
use crate::resource::Kind;
use crate::snapshot::Snapshot;
use crate::stream::{Event, Options, Request, Response, Stream, StreamError};
use crate::subscription::{self, Variant};

/// Requests taken in a row before other streams get their turn.
const MAX_REQUESTS_AT_ONCE: usize = 64;

/// How long to wait for an Envoy that reconnected to ask for its clusters. It does so when those it was working on are complete, and gives up
/// on one after 15 s (`initial_fetch_timeout`).
const CLUSTERS_WITHIN: Duration = Duration::from_secs(16);

/// A gRPC method whose requests are `Q` and whose responses are `R`.
pub(super) struct Method<Q, R> {
    context: Arc<Context>,
    variant: Variant,
    options: Options,
    messages: PhantomData<fn(Q) -> R>,
}

impl<Q, R> Method<Q, R> {
    pub(super) fn new(context: Arc<Context>, variant: Variant, options: Options) -> Self {
        Self { context, variant, options, messages: PhantomData }
    }
}

impl<Q, R> Clone for Method<Q, R> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.context), self.variant, self.options)
    }
}

impl<Q, R> tonic::server::StreamingService<Q> for Method<Q, R>
where
    Q: Into<Request> + Send + 'static,
    R: From<Response> + Send + 'static,
{
    type Response = R;
    type ResponseStream = BoxStream<'static, Result<R, Status>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Q>>) -> Self::Future {
        let peer = Peer::of(&request);
        let stream = Stream::new(self.variant, Options { seed: random(), ..self.options });
        let Some(open) = self.context.clients.open(stream) else {
            warn!(peer = ?peer.address, "too many streams: more are refused until some end");
            return std::future::ready(Err(Status::resource_exhausted("too many streams"))).boxed();
        };
        let session = Session {
            inbound: request.into_inner(),
            open,
            context: Arc::clone(&self.context),
            peer,
            link: None,
            snapshots: None,
            current: None,
            retry_at: None,
            clusters_by: None,
            ends_at: None,
            ended: false,
            span: info_span!("xds", variant = ?self.variant, node = tracing::field::Empty, fleet = tracing::field::Empty),
        };
        let responses = stream::unfold(session, |mut session| async move {
            let span = session.span.clone();
            let response = session.next().instrument(span).await?;
            Some((response.map(R::from), session))
        });
        std::future::ready(Ok(tonic::Response::new(responses.boxed()))).boxed()
    }
}

struct Session<Q> {
    inbound: Streaming<Q>,
    open: Open,
    context: Arc<Context>,
    peer: Peer,
    /// This and the next are there once the first request has said who it is from.
    link: Option<Link>,
    snapshots: Option<watch::Receiver<Option<Arc<Snapshot>>>>,
    /// What the stream works towards.
    current: Option<Arc<Snapshot>>,
    /// When to offer once more what was refused or has to be confirmed.
    retry_at: Option<Instant>,
    /// When to go on without the client having asked for clusters.
    clusters_by: Option<Instant>,
    /// When to end the stream, once everything ends.
    ends_at: Option<Instant>,
    ended: bool,
    span: Span,
}

impl<Q: Into<Request> + Send + 'static> Session<Q> {
    fn client(&self) -> MutexGuard<'_, Client> {
        self.open.client()
    }

    /// The next response, as soon as one is due. `None` when the stream is over.
    async fn next(&mut self) -> Option<Result<Response, Status>> {
        if self.ended {
            return None;
        }
        match self.respond().await {
            Ok(Some(response)) => {
                let Response { kind, nonce, version, resources, removed } = &response;
                let (type_url, sent, removed) = (kind.type_url(), resources.len(), removed.len());
                debug!(type_url, %version, nonce, sent, removed, "pushed");
                if let Some(link) = &self.link {
                    link.sent(*kind, version);
                }
                Some(Ok(response))
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(status) => {
                self.ended = true;
                Some(Err(status))
            }
        }
    }

    async fn respond(&mut self) -> Result<Option<Response>, Status> {
        loop {
            // A client that reconnects asks for one kind after another. Everything that is there is read first, so that answers come
            // in their own order, not in that of the questions.
            for _ in 0..MAX_REQUESTS_AT_ONCE {
                match self.inbound.message().now_or_never() {
                    Some(Ok(Some(request))) => self.receive(request.into())?,
                    Some(Ok(None)) => return Ok(None),
                    Some(Err(status)) => return lost(&status),
                    None => break,
                }
            }
            let response = self.client().stream.respond();
            if let Some(response) = response {
                return Ok(Some(response));
            }
            if let (Some(link), Some(current)) = (&self.link, &self.current)
                && self.client().stream.is_answered()
            {
                link.settled(current, |kind| self.client().stream.refuses(kind));
            }
            tokio::task::consume_budget().await;
            tokio::select! {
                () = self.context.shutdown.begun.cancelled(), if self.ends_at.is_none() => {
                    let delay = self.context.shutdown.delay(self.context.clients.count(), random());
                    self.ends_at = Some(Instant::now() + delay);
                }
                () = reached(self.ends_at) => {
                    // Proxies keep what they have and look for another replica.
                    return Err(Status::unavailable("this control plane is shutting down"));
                }
                request = self.inbound.message() => match request {
                    Ok(Some(request)) => self.receive(request.into())?,
                    Ok(None) => return Ok(None),
                    Err(status) => return lost(&status),
                },
                () = changed(&mut self.snapshots) => self.take_snapshot(),
                () = trial_changed(&mut self.link) => self.take_snapshot(),
                () = reached(self.retry_at) => {
                    self.retry_at = None;
                    self.client().stream.retry();
                }
                () = reached(self.clusters_by) => {
                    self.clusters_by = None;
                    self.client().stream.expect_no_clusters();
                }
            }
        }
    }

    fn receive(&mut self, mut request: Request) -> Result<(), Status> {
        if self.snapshots.is_none() {
            self.identify(&mut request)?;
        }
        let event = self.client().stream.receive(request).map_err(|error| refuse(&error))?;
        let awaits_clusters = self.client().stream.awaits_clusters();
        self.clusters_by =
            awaits_clusters.then(|| self.clusters_by.unwrap_or_else(|| Instant::now() + CLUSTERS_WITHIN));
        if let Event::Accepted(Kind::ExtensionConfig, _) | Event::Refused(Kind::ExtensionConfig, ..) = event {
            let retry_in = self.client().stream.retry_in();
            self.retry_at = retry_in.map(|delay| Instant::now() + delay);
        }
        let Some(link) = &self.link else { return Ok(()) };
        match event {
            Event::Subscribed(kind) => {
                debug!(type_url = kind.type_url(), "subscribed");
                link.subscribed(kind);
            }
            Event::Changed(kind) => debug!(type_url = kind.type_url(), "subscription changed"),
            Event::Stale(kind) => debug!(type_url = kind.type_url(), "answers an older response"),
            Event::Accepted(kind, version) => {
                debug!(type_url = kind.type_url(), %version, "accepted");
                let refuses = self.client().stream.refuses(kind);
                link.accepted(kind, &version, refuses);
            }
            Event::Refused(kind, refused, error) => {
                let names = refused.resources.iter().map(|(name, _)| &**name);
                let reason = redact(&error, names);
                let (type_url, version) = (kind.type_url(), &refused.version);
                let retried = self.client().stream.retry_in().is_some();
                let traced = |current: &Arc<Snapshot>| trace(current, kind, &refused.resources, &error);
                let cause = self.current.as_ref().and_then(traced);
                let (document, field) = cause.as_ref().map(|cause| (&cause.document, &cause.field)).unzip();
                warn!(type_url, %version, reason, document, field, retried, "the proxy refused a push");
                let subscription::Refused { version, resources } = refused;
                link.refused(kind, Refused { version, reason, resources: resources.into(), cause, retried });
            }
            Event::NotServed(type_url) if type_url == Kind::Secret.type_url() => {
                warn!(
                    "secrets are not served beyond this machine without TLS: what needs them will wait for ever"
                );
            }
            Event::NotServed(type_url) => warn!(type_url, "this type of resource is not served"),
        }
        Ok(())
    }

    fn identify(&mut self, request: &mut Request) -> Result<(), Status> {
        let node = self.client().stream.identify(request).map_err(|error| refuse(&error))?.clone();
        self.span.record("node", &node.id).record("fleet", &node.fleet);
        // Here `node` is what the client claims to be and `peer` what it has proved. Whether the one may claim the other's fleet is to be
        // decided here, before anything is looked up for it; for now every peer that got through its handshake may be anything.
        let refused = self.context.fleets.refused_by(&node).into_iter();
        let recalled = refused.map(|(kind, Refused { version, resources, .. })| {
            (kind, subscription::Refused { version, resources: resources.to_vec() })
        });
        self.client().stream.recall(recalled);
        let link = self.context.fleets.connected(&node, self.peer.address);
        self.client().proxy = Some(Arc::clone(link.proxy()));
        self.link = Some(link);
        self.snapshots = Some(self.context.cache.subscribe(&node.fleet));
        let Peer { address, names } = &self.peer;
        info!(peer = address.as_ref().map(display), ?names, "connected");
        self.take_snapshot();
        Ok(())
    }

    fn take_snapshot(&mut self) {
        let Some(snapshots) = &mut self.snapshots else { return };
        let latest = snapshots.borrow_and_update().clone();
        let trial = self.link.as_mut().and_then(Link::trial);
        let Some(snapshot) = trial.or(latest) else { return };
        if self.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &snapshot)) {
            return;
        }
        self.current = Some(Arc::clone(&snapshot));
        if snapshot.gateways().is_empty() {
            warn!("no Gateway has this proxy's node.cluster as its fleet: it is given nothing to serve");
        }
        let node = self.client().stream.node().cloned();
        let snapshot = node.as_ref().map_or(Arc::clone(&snapshot), |node| snapshot.for_zone(&node.zone));
        let local = node.as_ref().and_then(|node| node.filter_path.as_deref());
        let snapshot = local.map_or(Arc::clone(&snapshot), |path| Arc::new(snapshot.with_local_module(path)));
        self.client().stream.update(snapshot);
    }
}

/// Waits for a newer snapshot; for ever as long as there is no fleet to wait for.
async fn changed(snapshots: &mut Option<watch::Receiver<Option<Arc<Snapshot>>>>) {
    let waited = match snapshots {
        Some(snapshots) => snapshots.changed().await,
        None => std::future::pending().await,
    };
    if waited.is_err() {
        // The cache is gone, which only happens when everything ends.
        std::future::pending::<()>().await;
    }
}

/// Waits for another snapshot to try.
async fn trial_changed(link: &mut Option<Link>) {
    match link {
        Some(link) => link.trial_changed().await,
        None => std::future::pending().await,
    }
}

/// The connection broke, or the client sent something that is no request: mostly there is nobody who could be told.
fn lost(status: &Status) -> Result<Option<Response>, Status> {
    info!(reason = status.message(), "stream lost");
    match status.code() {
        // What tonic says of a message over the limit.
        Code::OutOfRange => {
            Err(Status::resource_exhausted(format!("a request may have at most {MAX_REQUEST} bytes")))
        }
        _ => Ok(None),
    }
}

fn random() -> u32 {
    let hash = RandomState::new().hash_one(());
    u32::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()
}

/// Waits for a time; for ever if there is none.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn refuse(error: &StreamError) -> Status {
    warn!(%error, "stream refused");
    let message = error.to_string();
    match error {
        StreamError::NoNode | StreamError::NoType | StreamError::WrongType { .. } | StreamError::Locator => {
            Status::invalid_argument(message)
        }
        StreamError::TooManyNames => Status::resource_exhausted(message),
    }
}
