//! Words that have a form of their own: names, hosts, paths, headers. Each function reads one field of a document.

use std::net::IpAddr;
use std::num::NonZeroU32;

use serde::de::{Deserialize, Deserializer, Error};
use spillway_policy::config::NOT_AVAILABLE_YET;

/// Reads a string that passes a check, which says what is wrong with it.
fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    check: impl FnOnce(&str) -> Result<(), String>,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    check(&text).map_err(Error::custom)?;
    Ok(text)
}

/// A DNS label (RFC 1123).
pub(crate) fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text| {
        let expected =
            || format!("expected 1 to 63 of a-z, 0-9 and -, with no - at either end, found {text:?}");
        is_label(text).then_some(()).ok_or_else(expected)
    })
}

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// What an Envoy gives as `node.cluster`.
pub(crate) fn fleet<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text| match text {
        "" => Err("expected the node.cluster of a fleet of Envoys, found an empty string".into()),
        _ if text.len() > 253 => Err(format!("expected at most 253 bytes, found {}", text.len())),
        _ if text.chars().any(char::is_control) => Err("expected no control characters".into()),
        _ => Ok(()),
    })
}

fn check_hostname(text: &str) -> Result<(), String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("expected a host name, found the address {text:?}"));
    }
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(());
    }
    let reason = if text.contains('*') {
        "a wildcard can only be the whole first label, as in *.example.com"
    } else if text.contains(':') {
        "without scheme and port"
    } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        "in lower case"
    } else {
        "labels of a-z, 0-9 and -, separated by dots"
    };
    Err(format!("expected a host name such as orders.example.com or *.example.com, found {text:?}: {reason}"))
}

struct Hostname(String);

impl<'de> Deserialize<'de> for Hostname {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, check_hostname).map(Self)
    }
}

/// A host name, possibly with a wildcard as its first label.
pub(crate) fn hostname<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Hostname>::deserialize(deserializer)?.map(|hostname| hostname.0))
}

/// Several of [`hostname`].
pub(crate) fn hostnames<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<Hostname>::deserialize(deserializer)?.into_iter().map(|hostname| hostname.0).collect())
}

/// An absolute path in the only form in which requests are matched.
pub(crate) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text| {
        let refuse = |reason: &str| Err(format!("expected a path such as /orders, found {text:?}: {reason}"));
        let lower = text.to_ascii_lowercase();
        if !text.starts_with('/') {
            return refuse("it starts with /");
        }
        if text.contains(['?', '#']) {
            return refuse("without query and fragment");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("what is no printable ASCII has to be percent-encoded");
        }
        if text.contains("//") || text.split('/').any(|element| matches!(element, "." | "..")) {
            return refuse("requests with //, /./ or /../ are normalised first, so it could never match");
        }
        if lower.contains("%2f") || lower.contains("%5c") {
            return refuse("requests with an escaped slash are refused, so it could never match");
        }
        Ok(())
    })
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let special = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || special(byte))
}

/// A method; the case matters.
pub(crate) fn method<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Method(String);
    impl<'de> Deserialize<'de> for Method {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            const KNOWN: [&str; 9] =
                ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
            checked(deserializer, |text| match text.to_ascii_uppercase() {
                _ if !is_token(text) => Err(format!("expected an HTTP method such as GET, found {text:?}")),
                upper if upper != text && KNOWN.contains(&upper.as_str()) => {
                    Err(format!("expected {upper}, found {text:?}: the case of methods matters"))
                }
                _ => Ok(()),
            })
            .map(Self)
        }
    }
    Ok(Option::<Method>::deserialize(deserializer)?.map(|method| method.0))
}

/// The name of a request header that a client may send.
pub(crate) fn header_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text| {
        let lower = text.to_ascii_lowercase();
        if !is_token(text) {
            return Err(format!("expected the name of a header such as x-env, found {text:?}"));
        }
        if lower == "x-route-key" || lower.starts_with("x-spillway-") {
            return Err(format!(
                "{text:?} is taken out of every request before routing, so it could never match"
            ));
        }
        Ok(())
    })
}

/// A header's value.
pub(crate) fn header_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text| match text {
        "" => Err("expected a value, found an empty string".into()),
        _ if text.chars().any(char::is_control) => Err("a header's value has no control characters".into()),
        _ if text.trim_matches([' ', '\t']) != text => {
            Err(format!("{text:?} starts or ends with a space, which a header's value never does"))
        }
        _ => Ok(()),
    })
}

/// An IP address.
pub(crate) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        Error::custom(format!("expected an IP address such as 10.0.0.1 or 2001:db8::1, found {text:?}"))
    })
}

/// An endpoint's weight.
pub(crate) fn endpoint_weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU32, D::Error> {
    NonZeroU32::new(u32::deserialize(deserializer)?)
        .ok_or_else(|| Error::custom(format!("weight 0 (draining) is {NOT_AVAILABLE_YET}")))
}
