//! What is to be made of a proxy's words when it refuses something: they are redacted, and traced back to what somebody wrote.

pub mod redact;
pub mod trace;
