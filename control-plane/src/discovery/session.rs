//! One client's stream: moves requests, snapshots and responses between gRPC, the cache and the state machine.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use prost::Message;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use tracing::{Instrument, Span, debug, info, info_span, warn};

use super::clients::{Client, Open};
use super::grpc::{self, Lost, Requests};
use super::peer::Peer;
use super::{Context, MAX_REQUEST, message};
use crate::fleet::{Link, Refused};
use crate::refusal::{redact::redact, trace::trace};
use crate::resource::Kind;
use crate::snapshot::Snapshot;
use crate::stream::{Event, Options, Request, Response, Stream, StreamError};
use crate::subscription::{self, Variant};
use crate::telemetry::trace::Trace;

/// Requests taken in a row before other streams get their turn.
const MAX_REQUESTS_AT_ONCE: usize = 64;

/// How long to wait for an Envoy that reconnected to ask for its clusters. It does so when those it was working on are complete, and gives up
/// on one after 15 s (`initial_fetch_timeout`).
const CLUSTERS_WITHIN: Duration = Duration::from_secs(16);

/// Begins a stream of requests `Q`.
pub(super) fn open<Q: Message + Default + Into<Request> + 'static>(
    context: &Arc<Context>,
    variant: Variant,
    options: Options,
    request: axum::extract::Request,
) -> Result<axum::response::Response, Status> {
    let peer = Peer::of(request.extensions());
    let (head, body) = request.into_parts();
    let inbound = Requests::of(&head.headers, body, MAX_REQUEST)?;
    let Some(open) = context.clients.open(Stream::new(variant, Options { seed: random(), ..options })) else {
        warn!(peer = ?peer.address, "too many streams: more are refused until some end");
        return Err(Status::resource_exhausted("too many streams"));
    };
    let session = Session::<Q> {
        inbound,
        open,
        context: Arc::clone(context),
        peer,
        link: None,
        snapshots: None,
        current: None,
        change: Trace::default(),
        retry_at: None,
        clusters_by: None,
        ends_at: None,
        ended: false,
        span: info_span!("xds", ?variant, node = tracing::field::Empty, fleet = tracing::field::Empty),
        pieces: VecDeque::new(),
        requests: PhantomData,
    };
    // Boxed, because between two pieces it would be moved as a whole, and room kept for it twice.
    Ok(grpc::response(stream::unfold(Box::new(session), |mut session| async move {
        let span = session.span.clone();
        let piece = session.next().instrument(span).await?;
        Some((piece, session))
    })))
}

struct Session<Q> {
    inbound: Requests,
    open: Open,
    context: Arc<Context>,
    peer: Peer,
    /// This and the next are there once the first request has said who it is from.
    link: Option<Link>,
    snapshots: Option<watch::Receiver<Option<Arc<Snapshot>>>>,
    /// What the stream works towards.
    current: Option<Arc<Snapshot>>,
    /// The change that made it, if the client was there before.
    change: Trace,
    /// When to offer once more what was refused or has to be confirmed.
    retry_at: Option<Instant>,
    /// When to go on without the client having asked for clusters.
    clusters_by: Option<Instant>,
    /// When to end the stream, once everything ends.
    ends_at: Option<Instant>,
    ended: bool,
    span: Span,
    /// Of the response that is being sent.
    pieces: VecDeque<Bytes>,
    requests: PhantomData<fn(Q)>,
}

impl<Q: Message + Default + Into<Request>> Session<Q> {
    fn client(&self) -> MutexGuard<'_, Client> {
        self.open.client()
    }

    /// The next piece of a response, as soon as one is due. `None` when the stream is over.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        while self.pieces.is_empty() && !self.ended {
            match self.respond().await.and_then(|response| response.map(|one| self.sent(one)).transpose()) {
                Ok(Some(pieces)) => self.pieces = pieces,
                Ok(None) => self.ended = true,
                Err(status) => {
                    self.ended = true;
                    return Some(Err(status));
                }
            }
        }
        let piece = self.pieces.pop_front();
        if self.pieces.is_empty() {
            self.pieces = VecDeque::new();
        }
        piece.map(Ok)
    }

    fn sent(&self, response: Response) -> Result<VecDeque<Bytes>, Status> {
        let Response { kind, nonce, version, resources, removed } = &response;
        let (type_url, sent, removed) = (kind.type_url(), resources.len(), removed.len());
        debug!(type_url, %version, nonce, sent, removed, "pushed");
        if let Some(link) = &self.link {
            link.sent(*kind, version, &self.change);
        }
        let variant = self.client().stream.variant();
        message::encode(variant, response)
    }

    async fn respond(&mut self) -> Result<Option<Response>, Status> {
        loop {
            // A client that reconnects asks for one kind after another. Everything that is there is read first, so that answers come
            // in their own order, not in that of the questions.
            for _ in 0..MAX_REQUESTS_AT_ONCE {
                match self.inbound.next::<Q>().now_or_never() {
                    Some(Ok(Some(request))) => self.receive(request.into())?,
                    Some(Ok(None)) => return Ok(None),
                    Some(Err(reason)) => return lost(reason),
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
                request = self.inbound.next::<Q>() => match request {
                    Ok(Some(request)) => self.receive(request.into())?,
                    Ok(None) => return Ok(None),
                    Err(reason) => return lost(reason),
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
                let _logged = self.change.enter();
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
        self.change =
            self.current.replace(Arc::clone(&snapshot)).map(|_| snapshot.cause()).unwrap_or_default();
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

fn lost(reason: Lost) -> Result<Option<Response>, Status> {
    match reason {
        Lost::Broken(reason) => {
            info!(reason, "stream lost");
            Ok(None)
        }
        Lost::Refused(status) => {
            warn!(reason = status.message(), "stream refused");
            Err(status)
        }
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
