//! What Envoy offers to a module, typed: every call that can fail says so, and nothing is assumed of what comes back.
//!
//! The calls and their numbers are those of the [proxy-wasm ABI 0.2.1](https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1).

use std::fmt;

#[cfg(target_arch = "wasm32")]
mod abi;
#[cfg(test)]
pub(crate) mod fake;
pub mod headers;

pub use headers::Headers;

/// The calls that the filter makes. All of them take `&self`: the host has its own mind and may be asked from several places at once.
pub trait Host {
    /// Writes a line to Envoy's log, under the logger `wasm`.
    fn log(&self, level: Level, message: &str);

    /// Nanoseconds of a monotonic clock that all workers share.
    fn now(&self) -> u64;

    /// Bits that a client can't guess.
    fn entropy(&self) -> u128;

    /// The configuration of the root context that is being configured, which is `size` bytes long.
    fn configuration(&self, size: usize) -> Result<Vec<u8>, Refused>;

    /// How often the current root context wants a tick; 0 for never.
    fn set_tick_period(&self, milliseconds: u32) -> Result<(), Refused>;

    /// Makes further calls speak for another context; refused with [`Refused::BAD_ARGUMENT`] where the host knows none by this number.
    fn set_effective_context(&self, context: u32) -> Result<(), Refused>;

    /// The first value of a header, by its lower-case name.
    fn header(&self, map: HeaderMap, name: &str) -> Result<Vec<u8>, Refused>;

    /// Every header at once: cheaper than two single ones.
    fn headers(&self, map: HeaderMap) -> Result<Headers, Refused>;

    /// Replaces a request header. Makes Envoy choose the route again.
    fn set_request_header(&self, name: &str, value: &str) -> Result<(), Refused>;

    /// An attribute, by its path with NUL between the steps. Numbers come as eight bytes, little-endian.
    fn property(&self, path: &str) -> Result<Vec<u8>, Refused>;

    /// Sets a property of the stream; Envoy shows it as the filter state `wasm.<name>`.
    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), Refused>;

    /// Answers the current request here.
    fn send_local_response(&self, response: &LocalResponse<'_>) -> Result<(), Refused>;

    /// A value shared by all workers, into `value`, and the number of the write that it comes from.
    fn shared_data(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, Refused>;

    /// Writes a value shared by all workers. A key that does not exist is created whatever `cas` is; one that exists is overwritten if `cas` is
    /// the number of its last write, or 0.
    fn set_shared_data(&self, key: &[u8], value: &[u8], cas: u32) -> Result<(), Refused>;

    /// The counter of this name, made where there is none yet.
    fn define_counter(&self, name: &str) -> Result<Counter, Refused>;

    /// The gauge of this name, which is one for all workers, made where there is none yet.
    fn define_gauge(&self, name: &str) -> Result<Gauge, Refused>;

    /// Adds to a counter; `by` above zero.
    fn increment(&self, counter: Counter, by: u32) -> Result<(), Refused>;

    /// Sets a gauge.
    fn record(&self, gauge: Gauge, value: u64) -> Result<(), Refused>;
}

/// The host's answer where it is not "ok", as the ABI numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub u32);

impl Refused {
    /// There is no such header, property or key.
    pub const NOT_FOUND: Self = Self(1);
    /// What was asked makes no sense here: no such context, no such map in this phase.
    pub const BAD_ARGUMENT: Self = Self(2);
    /// The shared value has been written since.
    pub const CAS_MISMATCH: Self = Self(8);
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the curious.
    Info = 2,
    /// Somebody should look at it some time.
    Warn = 3,
    /// Somebody should look at it now.
    Error = 4,
}

/// Which headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderMap {
    /// The request's.
    Request = 0,
    /// The response's.
    Response = 2,
    /// Those after the response's body.
    ResponseTrailers = 3,
}

/// A counter's number in this VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter(pub u32);

/// A gauge's number in this VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge(pub u32);

/// An answer in place of the upstream's. Envoy turns it into a trailers-only gRPC response by itself where the request is gRPC: the
/// status is then `grpc_status`, the message the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalResponse<'a> {
    /// The HTTP status.
    pub status: u16,
    /// What `%RESPONSE_CODE_DETAILS%` says.
    pub details: &'a str,
    /// The body, as `text/plain`.
    pub body: &'a str,
    /// Headers besides Envoy's own.
    pub headers: &'a [(&'a str, &'a str)],
    /// The gRPC status.
    pub grpc_status: u32,
}
