//! One VM's state, and what it does at each of Envoy's callbacks.
//!
//! Envoy gives each configuration a root context of its own and keeps it as long as a stream that began under it lives. So engines
//! belong to root contexts; what outlives a configuration is in the shared data.
//!
//! Envoy is not asked to announce streams: that would be a third call into the VM for each request. A stream belongs to the newest configuration of its
//! plugin's name; only where plugins of several names share the VM does it have to be asked for that name.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use spillway_policy::config::{ConfigError, Configuration};
use spillway_policy::engine::{Admission, Decision, Engine, Outcome, Verdict};
use spillway_policy::header::is_header_value;

use crate::host::{HeaderMap, Host, Level};
use crate::metrics::Metrics;
use crate::outcome;
use crate::reject;
use crate::request::Request;
use crate::shared_data::SharedData;

/// How often a worker brings its counters and what its engine holds to where all can see them.
const TICK_MILLIS: u32 = 50;

/// How many streams each tick looks after. They end with [`Filter::on_log`]; this is for the one that a host might forget.
const SWEEP: usize = 16;

/// Everything that one VM knows.
#[derive(Debug)]
pub struct Filter<H> {
    host: H,
    /// The newest last.
    roots: Vec<Root>,
    /// Whether their plugins have more than one name.
    several_names: bool,
    /// Those that something wants to hear the end of.
    streams: HashMap<u32, Stream, BuildHasherDefault<ContextHasher>>,
    /// Streams that probe a breaker and whose answers may never end.
    probes: Vec<u32>,
    /// Streams that the sweep under way has not come to.
    unswept: Vec<u32>,
    metrics: Metrics,
    /// Writes of shared data, since the last tick, that another worker was faster with.
    conflicts: Cell<u32>,
}

/// A root context: one configuration at work.
#[derive(Debug)]
struct Root {
    context: u32,
    /// Its plugin's.
    name: Vec<u8>,
    engine: Engine,
    store_failures: u64,
}

/// A stream that is not over.
#[derive(Debug)]
struct Stream {
    root: u32,
    /// The request has a body, as every gRPC request has.
    has_body: bool,
    admission: Admission,
}

/// Whether a request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It does.
    Continue,
    /// It was answered.
    Stop,
}

impl Action {
    /// Whether it was answered.
    pub const fn is_stopped(self) -> bool {
        matches!(self, Self::Stop)
    }
}

impl<H: Host> Filter<H> {
    /// A VM that has just started.
    pub fn new(host: H) -> Self {
        Self {
            host,
            roots: Vec::new(),
            several_names: false,
            streams: HashMap::default(),
            probes: Vec::new(),
            unswept: Vec::new(),
            metrics: Metrics::default(),
            conflicts: Cell::new(0),
        }
    }

    /// A root context gets its configuration of `size` bytes; `false` refuses it and leaves everything as it was.
    pub fn on_configure(&mut self, root: u32, size: usize) -> bool {
        let (configuration, mut engine) = match self.compile(size) {
            Ok(compiled) => compiled,
            Err(error) => {
                self.host.log(Level::Error, &format!("spillway: configuration refused: {error}"));
                return false;
            }
        };
        if let Some(other) = self.roots.first() {
            engine.join(&other.engine);
        }
        // One that is configured again is another.
        self.end_roots(|_, other| other == root);
        self.drop_ended_roots(root);
        let name = self.plugin_name();
        if self.roots.iter().any(|other| other.name == name && other.engine.revision() >= engine.revision()) {
            let name = String::from_utf8_lossy(&name);
            self.host.log(
                Level::Warn,
                &format!(
                    "spillway: another configuration of the plugin {name:?} is in use and not older; \
                     from now on this one gets its requests. Give each plugin a name of its own"
                ),
            );
        }
        self.roots.push(Root { context: root, name, engine, store_failures: 0 });
        self.count_names();
        self.metrics.announce(root, &configuration, &self.host);
        self.keep_gauges();
        if let Err(error) = self.host.set_tick_period(TICK_MILLIS) {
            self.host.log(Level::Warn, &format!("spillway: no ticks, metrics will stay empty: {error}"));
        }
        true
    }

    /// The name of the plugin whose context the host is in.
    fn plugin_name(&self) -> Vec<u8> {
        // A host that knows no such name has all plugins under one.
        self.host.property("plugin_name").unwrap_or_default()
    }

    fn count_names(&mut self) {
        let newest = self.roots.last().map(|root| &root.name);
        self.several_names = self.roots.iter().any(|root| Some(&root.name) != newest);
    }

    /// The configuration that a new stream begins under.
    fn root_of_stream(&self) -> Option<usize> {
        let newest = self.roots.len().checked_sub(1);
        if !self.several_names {
            return newest;
        }
        let name = self.plugin_name();
        self.roots.iter().rposition(|root| root.name == name).or(newest)
    }

    fn compile(&self, size: usize) -> Result<(Configuration, Engine), ConfigError> {
        // A configuration that can't be read is an empty one, which is refused as such.
        let json = self.host.configuration(size).unwrap_or_default();
        let configuration = Configuration::parse(&json)?;
        let engine = Engine::new(configuration.clone())?;
        Ok((configuration, engine))
    }

    /// A request has come. Without a configuration it passes.
    pub fn on_request_headers(&mut self, context: u32, end_of_stream: bool) -> Action {
        let root = self.root_of_stream();
        let Self { host, roots, streams, probes, metrics, conflicts, .. } = self;
        let store = &mut SharedData { host, conflicts };
        let Some(root) = root.and_then(|root| roots.get_mut(root)) else {
            metrics.request();
            return Action::Continue;
        };
        if root.engine.announces_key() {
            // The instance behind this one counts the request.
            return Self::announce_key(host, &mut root.engine, store);
        }
        metrics.request();
        let is_traced = root.engine.is_traced();
        let request = Request::new(host, root.engine.needs());
        let decision = root.engine.decide(&request, store, host.now());
        let Decision { key, verdict, shadowed, limits } = decision;
        // Without the property the key is not shown; the request is as good as it was. So with the others.
        // One that can't be a header would come back as the proxy's own 503, and count as the upstream's.
        if let Some(key) = key.filter(|key| is_header_value(key)) {
            host.set_property("spillway_key", key).ok();
        }
        for reject in &shadowed {
            metrics.shadowed(reject);
        }
        if let (Verdict::Admit(_), Some(reject)) = (&verdict, shadowed.first()) {
            host.set_property("spillway_decision", reject.to_string().as_bytes()).ok();
        }
        drop(shadowed);
        let action = match verdict {
            Verdict::Admit(admission) => {
                if let Some(limits) = limits {
                    // The route adds them to the response.
                    host.set_property("spillway_ratelimit", limits.rate_limit.as_bytes()).ok();
                    host.set_property("spillway_ratelimit_policy", limits.policy.as_bytes()).ok();
                }
                if admission.is_probe() {
                    if is_long(host) {
                        probes.push(context);
                    }
                    if root.engine.enforces_probe(&admission) {
                        // A probe is one attempt. If this fails, it counts as its last attempt does.
                        host.set_request_header("x-envoy-max-retries", "0").ok();
                    }
                }
                if admission.is_watched() {
                    let root = root.context;
                    streams.insert(context, Stream { root, has_body: !end_of_stream, admission });
                }
                Action::Continue
            }
            Verdict::Reject(reject) => {
                metrics.rejected(&reject);
                if is_traced {
                    reject::tag(host, &reject);
                }
                match reject::send(host, &reject, limits) {
                    Ok(()) => Action::Stop,
                    Err(error) => {
                        // Stopping it now would leave it without any answer.
                        host.log(Level::Error, &format!("spillway: could not reject: {error}"));
                        Action::Continue
                    }
                }
            }
        };
        root.report(host, metrics);
        action
    }

    /// Makes the key a header, by which the proxy chooses the route again.
    fn announce_key(host: &H, engine: &mut Engine, store: &mut SharedData<'_, H>) -> Action {
        let request = Request::new(host, engine.needs());
        let decision = engine.decide(&request, store, host.now());
        // A key may be any bytes, and a header may not. No route asks for a key that can't be a header.
        let key = decision.key.filter(|key| is_header_value(key));
        if let Some(key) = key.and_then(|key| std::str::from_utf8(key).ok()) {
            // Without it the request is served by a route that does not ask for the key.
            host.set_request_header("x-route-key", key).ok();
        }
        Action::Continue
    }

    /// A stream is over. What it was admitted to hears how it ended.
    pub fn on_log(&mut self, context: u32) {
        let Some(Stream { root, has_body, admission }) = self.streams.remove(&context) else { return };
        let Some(root) = self.roots.iter_mut().find(|other| other.context == root) else { return };
        let outcome = outcome::read(&self.host, has_body, root.engine.needs().latency);
        let store = &mut SharedData { host: &self.host, conflicts: &self.conflicts };
        root.engine.complete(admission, outcome, store, self.host.now());
        root.report(&self.host, &mut self.metrics);
    }

    /// Brings what this worker holds to where all can see it, and looks for what has ended unseen.
    pub fn on_tick(&mut self, root: u32) {
        let now = self.host.now();
        let Self { host, roots, metrics, conflicts, .. } = self;
        if let Some(index) = roots.iter().position(|other| other.context == root)
            && let Some((root, newer)) = roots.get_mut(index..).and_then(<[Root]>::split_first_mut)
        {
            let store = &mut SharedData { host, conflicts };
            root.engine.tick(store, now);
            root.report(host, metrics);
            // What an older configuration has still in flight is counted with the rest; its limits are those of the past.
            let is_newest = root.is_newest(newer);
            root.engine.measure(store, now, |reading| {
                if is_newest {
                    metrics.show(root.context, &reading);
                }
            });
            let failures = root.engine.store_failures();
            metrics.store_failures(failures.saturating_sub(root.store_failures));
            root.store_failures = failures;
        }
        metrics.store_retries(conflicts.take());
        metrics.flush(host);
        self.resolve_probes();
        self.sweep_streams();
        self.drop_ended_roots(root);
    }

    /// A WebSocket or a gRPC stream may last for days: where one is a probe, the beginning of its answer is the result.
    fn resolve_probes(&mut self) {
        let Self { host, roots, streams, probes, metrics, conflicts, .. } = self;
        probes.retain(|context| {
            let Some(Stream { root, admission, .. }) = streams.get_mut(context) else { return false };
            let Some(root) = roots.iter_mut().find(|other| other.context == *root) else { return false };
            if host.set_effective_context(*context).is_err() {
                return false;
            }
            let Some(outcome) = outcome::read_beginning(host) else { return true };
            root.engine.headers_seen(admission, outcome, &mut SharedData { host, conflicts }, host.now());
            root.report(host, metrics);
            false
        });
    }

    /// Forgets streams that the host no longer knows. What was counted as in flight for them no longer is.
    fn sweep_streams(&mut self) {
        if self.unswept.is_empty() {
            self.unswept.extend(self.streams.keys());
        }
        for _ in 0..SWEEP {
            let Some(context) = self.unswept.pop() else { return };
            if self.streams.contains_key(&context) && self.host.set_effective_context(context).is_err() {
                self.forget(context);
            }
        }
    }

    fn forget(&mut self, context: u32) {
        let Some(Stream { root, admission, .. }) = self.streams.remove(&context) else { return };
        let Some(root) = self.roots.iter_mut().find(|other| other.context == root) else { return };
        let outcome = Outcome { client_gone: true, ..Outcome::default() };
        let store = &mut SharedData { host: &self.host, conflicts: &self.conflicts };
        root.engine.complete(admission, outcome, store, self.host.now());
    }

    /// Lets go of root contexts that the host no longer knows. It would say so in `proxy_on_delete`, but then for every stream too.
    fn drop_ended_roots(&mut self, current: u32) {
        self.end_roots(|host, root| root != current && host.set_effective_context(root).is_err());
        // Further calls are about the context that was called again; it exists, or it would not have been.
        self.host.set_effective_context(current).ok();
        self.count_names();
    }

    /// Lets go of root contexts. Streams that began under one are over, whether or not they said so: otherwise they would be counted as in flight for ever.
    fn end_roots(&mut self, is_over: impl Fn(&H, u32) -> bool) {
        let roots = self.roots.iter().map(|root| root.context);
        let over: Vec<u32> = roots.filter(|root| is_over(&self.host, *root)).collect();
        if over.is_empty() {
            return;
        }
        let streams = self.streams.iter().filter(|(_, stream)| over.contains(&stream.root));
        let streams: Vec<u32> = streams.map(|(context, _)| *context).collect();
        for context in streams {
            self.forget(context);
        }
        let Self { host, roots, metrics, conflicts, .. } = self;
        for root in roots.iter_mut().filter(|root| over.contains(&root.context)) {
            root.engine.retire(&mut SharedData { host, conflicts }, host.now());
            root.report(host, metrics);
        }
        roots.retain(|root| !over.contains(&root.context));
        self.keep_gauges();
    }

    /// Shows rules as gone that no configuration has any more for new requests.
    fn keep_gauges(&mut self) {
        let roots = &self.roots;
        self.metrics.keep(|context| {
            let index = roots.iter().position(|root| root.context == context);
            let from = index.and_then(|index| roots.get(index..)).and_then(<[Root]>::split_first);
            from.is_some_and(|(root, newer)| root.is_newest(newer))
        });
    }
}

/// Whether the answer to the current request may have no end: a WebSocket or gRPC.
fn is_long<H: Host>(host: &H) -> bool {
    let header = |name| host.header(HeaderMap::Request, name).unwrap_or_default();
    !header("upgrade").is_empty() || header("content-type").starts_with(b"application/grpc")
}

impl Root {
    /// Whether it gets the new requests, and not one of these that came after it.
    fn is_newest(&self, newer: &[Self]) -> bool {
        newer.iter().all(|newer| newer.name != self.name)
    }

    /// Counts and logs what changed, at once: it is rare, and somebody may be waiting for it.
    fn report<H: Host>(&mut self, host: &H, metrics: &mut Metrics) {
        let transitions = self.engine.take_transitions();
        if transitions.is_empty() {
            return;
        }
        for transition in transitions {
            metrics.transition(&transition);
            let (policy, rule) = (&transition.policy, &transition.rule);
            host.log(
                Level::Info,
                &format!("spillway: breaker {policy}/{rule} is {}", transition.to.as_str()),
            );
        }
        metrics.flush(host);
    }
}

/// The host counts contexts up, so their numbers spread by one multiplication. Nobody outside chooses them.
#[derive(Debug, Default)]
struct ContextHasher(u64);

impl Hasher for ContextHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests;
