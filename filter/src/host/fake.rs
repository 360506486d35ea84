//! A host for tests: it answers what it was given and keeps what it was told.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Counter, Gauge, HeaderMap, Headers, Host, Level, LocalResponse, Refused};

/// Clones share everything, as the workers of a proxy share their host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake(Rc<State>);

#[derive(Debug, Default)]
struct State {
    calls: RefCell<Vec<String>>,
    /// Calls that every request makes, and that `calls` would be full of.
    common: Cell<usize>,
    log: RefCell<Vec<String>>,
    now: Cell<u64>,
    configuration: RefCell<Vec<u8>>,
    tick_period: Cell<Option<u32>>,
    contexts: RefCell<BTreeSet<u32>>,
    effective: Cell<u32>,
    headers: RefCell<BTreeMap<u32, Fields>>,
    attributes: RefCell<BTreeMap<String, Vec<u8>>>,
    set: RefCell<BTreeMap<String, Vec<u8>>>,
    responses: RefCell<Vec<Response>>,
    shared: RefCell<BTreeMap<Vec<u8>, Written>>,
    writes: Cell<u32>,
    shared_is_broken: Cell<bool>,
    /// Writes that find that somebody else has written.
    conflicts: Cell<u32>,
    /// Counters and gauges. Each VM defines its own, and those of one name are one.
    metrics: RefCell<Vec<(String, u64)>>,
}

type Fields = Vec<(String, Vec<u8>)>;

/// A value and the number of its last write.
type Written = (Vec<u8>, u32);

/// What was answered in an upstream's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) details: String,
    pub(crate) body: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) grpc_status: u32,
}

impl Fake {
    pub(crate) fn request(&self, headers: &[(&str, &[u8])]) {
        self.map(HeaderMap::Request, headers);
    }

    pub(crate) fn response(&self, headers: &[(&str, &[u8])]) {
        self.map(HeaderMap::Response, headers);
    }

    pub(crate) fn response_trailers(&self, headers: &[(&str, &[u8])]) {
        self.map(HeaderMap::ResponseTrailers, headers);
    }

    fn map(&self, map: HeaderMap, headers: &[(&str, &[u8])]) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        self.0.headers.borrow_mut().insert(map as u32, headers);
    }

    pub(crate) fn attribute(&self, path: &str, value: &[u8]) {
        self.0.attributes.borrow_mut().insert(path.to_owned(), value.to_vec());
    }

    pub(crate) fn configure(&self, json: &str) -> usize {
        *self.0.configuration.borrow_mut() = json.as_bytes().to_vec();
        json.len()
    }

    pub(crate) fn pass(&self, nanos: u64) {
        self.0.now.set(self.0.now.get() + nanos);
    }

    /// The host knows this context from now on.
    pub(crate) fn begin(&self, context: u32) {
        self.0.contexts.borrow_mut().insert(context);
    }

    /// The host forgets this context.
    pub(crate) fn end(&self, context: u32) {
        self.0.contexts.borrow_mut().remove(&context);
    }

    pub(crate) fn break_shared_data(&self) {
        self.0.shared_is_broken.set(true);
    }

    /// What was asked and told since the last time, without clock, log and shared data.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.0.calls.take()
    }

    /// How many calls there were since the last time, clock and shared data included.
    pub(crate) fn count(&self) -> usize {
        self.calls().len() + self.0.common.take()
    }

    pub(crate) fn logged(&self) -> String {
        self.0.log.borrow().join("\n")
    }

    pub(crate) fn property_set(&self, name: &str) -> Option<Vec<u8>> {
        self.0.set.borrow_mut().remove(name)
    }

    pub(crate) fn responses(&self) -> Vec<Response> {
        self.0.responses.take()
    }

    pub(crate) fn effective_context(&self) -> u32 {
        self.0.effective.get()
    }

    pub(crate) fn tick_period(&self) -> Option<u32> {
        self.0.tick_period.get()
    }

    pub(crate) fn shared_keys(&self) -> usize {
        self.0.shared.borrow().len()
    }

    /// The value of a counter or gauge; `None` if nobody has defined it.
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        self.0.metrics.borrow().iter().find(|(other, _)| other == name).map(|(_, value)| *value)
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.metric(name).unwrap_or_default()
    }

    /// How many counters and gauges there are.
    pub(crate) fn metrics(&self) -> usize {
        self.0.metrics.borrow().len()
    }

    /// Has the next writes to shared data find that another worker was faster.
    pub(crate) fn conflict(&self, writes: u32) {
        self.0.conflicts.set(writes);
    }

    fn define(&self, name: &str) -> u32 {
        self.called(format!("define {name}"));
        let mut metrics = self.0.metrics.borrow_mut();
        let index = metrics.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            metrics.push((name.to_owned(), 0));
            metrics.len() - 1
        });
        u32::try_from(index).unwrap()
    }

    fn called(&self, call: String) {
        self.0.calls.borrow_mut().push(call);
    }

    fn called_as_always(&self) {
        self.0.common.set(self.0.common.get() + 1);
    }
}

impl Host for Fake {
    fn log(&self, level: Level, message: &str) {
        self.0.log.borrow_mut().push(format!("{level:?}: {message}"));
    }

    fn now(&self) -> u64 {
        self.called_as_always();
        self.0.now.get()
    }

    fn entropy(&self) -> u128 {
        7
    }

    fn configuration(&self, size: usize) -> Result<Vec<u8>, Refused> {
        let configuration = self.0.configuration.borrow();
        Ok(configuration[..size.min(configuration.len())].to_vec())
    }

    fn set_tick_period(&self, milliseconds: u32) -> Result<(), Refused> {
        self.0.tick_period.set(Some(milliseconds));
        Ok(())
    }

    fn set_effective_context(&self, context: u32) -> Result<(), Refused> {
        if !self.0.contexts.borrow().contains(&context) {
            return Err(Refused::BAD_ARGUMENT);
        }
        self.0.effective.set(context);
        Ok(())
    }

    fn header(&self, map: HeaderMap, name: &str) -> Result<Vec<u8>, Refused> {
        self.called(format!("header {name}"));
        let headers = self.0.headers.borrow();
        let mut values = headers.get(&(map as u32)).into_iter().flatten();
        values.find(|(key, _)| key == name).map(|(_, value)| value.clone()).ok_or(Refused::NOT_FOUND)
    }

    fn headers(&self, map: HeaderMap) -> Result<Headers, Refused> {
        self.called("headers".to_owned());
        let headers = self.0.headers.borrow();
        let headers: Vec<_> = headers.get(&(map as u32)).into_iter().flatten().collect();
        let number = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
        let mut bytes = number(headers.len()).to_vec();
        for (name, value) in &headers {
            bytes.extend([number(name.len()), number(value.len())].concat());
        }
        for (name, value) in &headers {
            bytes.extend([name.as_bytes(), b"\0", value, b"\0"].concat());
        }
        Ok(Headers::new(bytes))
    }

    fn set_request_header(&self, name: &str, value: &str) -> Result<(), Refused> {
        self.called(format!("set header {name}: {value}"));
        Ok(())
    }

    fn property(&self, path: &str) -> Result<Vec<u8>, Refused> {
        self.called(format!("property {}", path.replace('\0', ".")));
        self.0.attributes.borrow().get(path).cloned().ok_or(Refused::NOT_FOUND)
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), Refused> {
        self.called(format!("set property {name}"));
        self.0.set.borrow_mut().insert(name.to_owned(), value.to_vec());
        Ok(())
    }

    fn send_local_response(&self, response: &LocalResponse<'_>) -> Result<(), Refused> {
        self.called("send local response".to_owned());
        let LocalResponse { status, details, body, headers, grpc_status } = *response;
        self.0.responses.borrow_mut().push(Response {
            status,
            details: details.to_owned(),
            body: body.to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            grpc_status,
        });
        Ok(())
    }

    fn shared_data(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, Refused> {
        self.called_as_always();
        if self.0.shared_is_broken.get() {
            return Err(Refused(10));
        }
        let shared = self.0.shared.borrow();
        let (stored, cas) = shared.get(key).ok_or(Refused::NOT_FOUND)?;
        value.clone_from(stored);
        Ok(*cas)
    }

    fn set_shared_data(&self, key: &[u8], value: &[u8], cas: u32) -> Result<(), Refused> {
        self.called_as_always();
        if self.0.shared_is_broken.get() {
            return Err(Refused(10));
        }
        let mut shared = self.0.shared.borrow_mut();
        if self.0.conflicts.get() > 0 {
            self.0.conflicts.set(self.0.conflicts.get() - 1);
            return Err(Refused::CAS_MISMATCH);
        }
        if shared.get(key).is_some_and(|(_, current)| cas != 0 && cas != *current) {
            return Err(Refused::CAS_MISMATCH);
        }
        self.0.writes.set(self.0.writes.get() + 1);
        shared.insert(key.to_vec(), (value.to_vec(), self.0.writes.get()));
        Ok(())
    }

    fn define_counter(&self, name: &str) -> Result<Counter, Refused> {
        Ok(Counter(self.define(name)))
    }

    fn define_gauge(&self, name: &str) -> Result<Gauge, Refused> {
        Ok(Gauge(self.define(name)))
    }

    fn increment(&self, counter: Counter, by: u32) -> Result<(), Refused> {
        self.called("increment".to_owned());
        self.0.metrics.borrow_mut()[counter.0 as usize].1 += u64::from(by);
        Ok(())
    }

    fn record(&self, gauge: Gauge, value: u64) -> Result<(), Refused> {
        self.called("record".to_owned());
        self.0.metrics.borrow_mut()[gauge.0 as usize].1 = value;
        Ok(())
    }
}
