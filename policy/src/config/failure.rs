//! Which outcomes are failures.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

/// Which outcomes count as failures of the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failures {
    /// HTTP statuses: numbers, or classes such as `5xx`; `5xx` where not given.
    #[serde(default = "server_errors")]
    pub statuses: Vec<Statuses>,
    /// gRPC statuses by name; `UNKNOWN`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNAVAILABLE` and `DATA_LOSS` where not given.
    #[serde(default = "server_faults")]
    pub grpc_statuses: Vec<GrpcStatus>,
    /// Whether it is one when the upstream gives no whole answer of its own: connection refused or reset, timeout.
    #[serde(default = "yes")]
    pub resets: bool,
}

fn server_errors() -> Vec<Statuses> {
    vec![Statuses { first: 500, last: 599 }]
}

fn server_faults() -> Vec<GrpcStatus> {
    [2, 4, 13, 14, 15].map(GrpcStatus).to_vec()
}

const fn yes() -> bool {
    true
}

impl Default for Failures {
    fn default() -> Self {
        Self { statuses: server_errors(), grpc_statuses: server_faults(), resets: true }
    }
}

/// One HTTP status, or a class of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    first: u16,
    last: u16,
}

impl Statuses {
    /// Whether `status` is one of them.
    pub(crate) const fn contains(self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }
}

impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a status from 100 to 599 or a class such as 5xx, found {text:?}");
        match text.as_bytes() {
            [class @ b'1'..=b'5', b'x', b'x'] => {
                let first = u16::from(class - b'0') * 100;
                Ok(Self { first, last: first + 99 })
            }
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
                let first = text.parse().map_err(|_| expected())?;
                Ok(Self { first, last: first })
            }
            _ => Err(expected()),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}xx", self.first / 100)
        }
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Statuses;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status such as 503 or a class such as 5xx")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Statuses, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, status: u64) -> Result<Statuses, E> {
                self.visit_str(&status.to_string())
            }
            fn visit_i64<E: de::Error>(self, status: i64) -> Result<Statuses, E> {
                self.visit_str(&status.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last {
            serializer.serialize_u16(self.first)
        } else {
            serializer.collect_str(self)
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Statuses {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Statuses".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 100, "maximum": 599 },
                { "type": "string", "pattern": "^[1-5](xx|[0-9][0-9])$" }
            ],
            "description": "A status such as 503 or a class such as 5xx."
        })
    }
}

/// A status code of [gRPC](https://grpc.io/docs/guides/status-codes/), by its name; never `OK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcStatus(u8);

/// By number, from 1.
const NAMES: [&str; 16] = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl GrpcStatus {
    /// The number on the wire.
    pub const fn code(self) -> u32 {
        self.0 as u32
    }
}

impl<'de> Deserialize<'de> for GrpcStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let number = (1..).zip(NAMES).find(|(_, known)| *known == name);
        number.map(|(number, _)| Self(number)).ok_or_else(|| {
            de::Error::custom(format!("expected a gRPC status such as UNAVAILABLE, found {name:?}"))
        })
    }
}

impl Serialize for GrpcStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = usize::from(self.0).checked_sub(1).and_then(|index| NAMES.get(index));
        serializer.serialize_str(name.copied().unwrap_or_default())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for GrpcStatus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GrpcStatus".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": NAMES, "description": "A gRPC status by its name." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_classes() {
        let json = r#"{"statuses":["5xx",429],"grpcStatuses":["UNAVAILABLE","INTERNAL"],"resets":false}"#;
        let failures: Failures = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&failures).unwrap(), json);
        let matching: Vec<u16> = [428, 429, 430, 499, 500, 599, 600]
            .into_iter()
            .filter(|s| failures.statuses.iter().any(|one| one.contains(*s)))
            .collect();
        assert_eq!(matching, [429, 500, 599]);
        assert_eq!(failures.grpc_statuses.iter().map(|status| status.code()).collect::<Vec<_>>(), [14, 13]);
        assert_eq!(serde_json::from_str::<Failures>("{}").unwrap(), Failures::default());
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for json in [r#"["6xx"]"#, "[99]", "[600]", "[-1]", r#"["5x"]"#, r#"["0xx"]"#, r#"[""]"#, "[null]"] {
            assert!(serde_json::from_str::<Vec<Statuses>>(json).is_err(), "{json}");
        }
        for json in [r#"["OK"]"#, r#"["unavailable"]"#, "[14]"] {
            assert!(serde_json::from_str::<Vec<GrpcStatus>>(json).is_err(), "{json}");
        }
    }
}
