//! What a listener lets clients take, and whom it takes them for.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use spillway_policy::unit::Duration;

/// Bounds against slow and greedy clients: they are cut off, and the others are served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; those beyond are closed as they come. 100000 where not given.
    pub max_connections: NonZeroU32,
    /// A connection without requests, or a request on which nothing moves, is ended after this; 5m where not given, `0s` for never.
    pub idle_timeout: Duration,
    /// From the first byte of a request to the end of its headers; also for a PROXY header, and for a TLS handshake. 10s where not given, `0s` for ever.
    pub request_headers_timeout: Duration,
    /// From the first byte of a request to the last of its body. `0s`, which holds where it is not given, is no bound: uploads and streams may be long.
    pub request_timeout: Duration,
    /// All headers of a request together, 1KiB to 8MiB; more are answered 431. 60KiB where not given.
    pub max_request_headers: Kibibytes,
    /// HTTP/2: requests at once on one connection; 100 where not given.
    pub max_concurrent_streams: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: NonZeroU32::MIN.saturating_add(99_999),
            idle_timeout: Duration::from_millis(300_000),
            request_headers_timeout: Duration::from_millis(10_000),
            request_timeout: Duration::default(),
            max_request_headers: Kibibytes(60),
            max_concurrent_streams: NonZeroU32::MIN.saturating_add(99),
        }
    }
}

/// Whose address counts as the client's: for limits, for hashing and in logs alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientAddress {
    /// So many proxies in front of this one are trusted to have appended to `x-forwarded-for` from whom they got the request; 0 where not given: the
    /// client is whoever has connected.
    #[schemars(range(max = 16))]
    pub trusted_hops: TrustedHops,
    /// Every connection begins with a PROXY header (version 1 or 2) that says whose it is; connections without one are closed.
    pub proxy_protocol: bool,
}

/// 0 to 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, JsonSchema)]
pub struct TrustedHops(u8);

impl TrustedHops {
    /// The number.
    pub fn get(self) -> u32 {
        self.0.into()
    }
}

impl<'de> Deserialize<'de> for TrustedHops {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hops = u8::deserialize(deserializer)?;
        if hops > 16 {
            return Err(D::Error::custom(format!("expected a whole number from 0 to 16, found {hops}")));
        }
        Ok(Self(hops))
    }
}

/// An amount of memory such as `60KiB` or `1MiB`; whole KiB, 1 to 8,192.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kibibytes(u32);

impl Kibibytes {
    /// The number of KiB.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for Kibibytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?;
        let kib = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
            (Some(digits), _) => number(digits),
            (_, Some(digits)) => number(digits).and_then(|mib: u32| mib.checked_mul(1_024)),
            _ => None,
        };
        kib.filter(|kib| (1..=8_192).contains(kib))
            .map(Self)
            .ok_or_else(|| format!("expected 1KiB to 8MiB, such as 60KiB, found {text:?}"))
    }
}

impl fmt::Display for Kibibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}KiB", self.0)
    }
}

impl<'de> Deserialize<'de> for Kibibytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Kibibytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Kibibytes".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "description": "1KiB to 8MiB, such as 60KiB", "pattern": "^[0-9]+(KiB|MiB)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_kibibytes_within_what_envoy_takes() {
        for (text, kib) in [("1KiB", 1), ("60KiB", 60), ("8MiB", 8_192)] {
            assert_eq!(text.parse::<Kibibytes>().unwrap().get(), kib, "{text}");
        }
        for text in
            ["", "60", "0KiB", "8193KiB", "9MiB", "-1KiB", "+1KiB", "60kB", "1.5KiB", "99999999999KiB"]
        {
            assert!(text.parse::<Kibibytes>().is_err(), "{text}");
        }
    }
}
