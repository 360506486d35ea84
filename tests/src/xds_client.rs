//! An xDS client made for tests: small enough that ten thousand fit beside the server, honest where it should be like Envoy, and free to
//! misbehave where a test wants a server to survive that.
//!
//! [`frame`] is the part of HTTP/2 that one end of a gRPC stream needs, [`connection`] moves it over a socket, [`message`] has the discovery
//! protocol's messages as far as a client reads them, and [`follower`] does with them what Envoy does. A library would do the first two as
//! well, but a library refuses to send what is wrong, and costs several times as much memory for each stream.

pub mod connection;
pub mod follower;
pub mod frame;
pub mod message;

pub use connection::{Connection, Event};
pub use follower::Follower;
