//! Words that have a form of their own: names, hosts, paths, headers. Each function reads one field of a document.

use std::net::IpAddr;
use std::num::NonZeroU32;

use serde::de::{Deserialize, Deserializer, Error};

use crate::bootstrap::HostPort;

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
pub(crate) fn check_matched_path(text: &str) -> Result<(), String> {
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
}

fn check_new_path(text: &str) -> Result<(), String> {
    let is_plain = text.starts_with('/')
        && !text.contains(['?', '#'])
        && !text.contains("//")
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    let expected =
        || format!("expected a path such as /orders, of printable ASCII, without query, found {text:?}");
    is_plain.then_some(()).ok_or_else(expected)
}

/// A path that takes the place of another.
pub(crate) fn new_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, check_new_path).map(Some)
}

/// What takes the place of a path's beginning; it may be empty.
pub(crate) fn new_prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| if text.is_empty() { Ok(()) } else { check_new_path(text) }).map(Some)
}

/// The name or value of a query parameter, as it stands in a URL, or an expression for it.
pub(crate) fn query_parameter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text| match text {
        "" => Err("expected at least one character".into()),
        _ if text.chars().any(char::is_control) => Err("expected no control characters".into()),
        _ => Ok(()),
    })
}

/// Names of gRPC services and methods are those of Protobuf.
fn check_identifier(what: &str, example: &str, text: &str, is_package: bool) -> Result<(), String> {
    let is_identifier = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let fits = if is_package { text.split('.').all(is_identifier) } else { is_identifier(text) };
    fits.then_some(()).ok_or_else(|| format!("expected a gRPC {what} such as {example}, found {text:?}"))
}

/// A gRPC service with its package.
pub(crate) fn grpc_service<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| check_identifier("service", "shop.Orders", text, true)).map(Some)
}

/// A gRPC method.
pub(crate) fn grpc_method<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| check_identifier("method", "Place", text, false)).map(Some)
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

/// Headers that say where a request goes and how the connection is used, and those by which Envoy and Spillway tell each other something.
fn check_modified_header(text: &str) -> Result<(), String> {
    const OF_THE_CONNECTION: [&str; 8] = [
        "host",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
    ];
    let lower = text.to_ascii_lowercase();
    if !is_token(text) {
        return Err(format!("expected the name of a header such as x-env, found {text:?}"));
    }
    if lower == "x-route-key" || lower.starts_with("x-spillway-") || lower.starts_with("x-envoy-") {
        return Err(format!("{text:?} can't be changed: it is reserved"));
    }
    if OF_THE_CONNECTION.contains(&lower.as_str()) {
        let help = if lower == "host" { ": URLRewrite changes it" } else { ": it belongs to the connection" };
        return Err(format!("{text:?} can't be changed{help}"));
    }
    Ok(())
}

/// The name of a header that a filter changes.
pub(crate) fn modified_header<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, check_modified_header)
}

/// Several of [`modified_header`].
pub(crate) fn modified_headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Name(String);
    impl<'de> Deserialize<'de> for Name {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            modified_header(deserializer).map(Self)
        }
    }
    Ok(Vec::<Name>::deserialize(deserializer)?.into_iter().map(|name| name.0).collect())
}

/// A number of second attempts.
pub(crate) fn attempts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU32, D::Error> {
    let attempts = u32::deserialize(deserializer)?;
    NonZeroU32::new(attempts)
        .filter(|attempts| attempts.get() <= 100)
        .ok_or_else(|| Error::custom(format!("expected a whole number from 1 to 100, found {attempts}")))
}

/// Statuses that stand for failures.
pub(crate) fn retry_codes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    struct Code(u32);
    impl<'de> Deserialize<'de> for Code {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match u32::deserialize(deserializer)? {
                code @ 400..=599 => Ok(Self(code)),
                code => Err(Error::custom(format!("expected a status from 400 to 599, found {code}"))),
            }
        }
    }
    Ok(Vec::<Code>::deserialize(deserializer)?.into_iter().map(|code| code.0).collect())
}

/// A cookie's name (RFC 6265, section 4.1.1).
pub(crate) fn cookie_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text| {
        let expected = || format!("expected the name of a cookie such as session, found {text:?}");
        is_token(text).then_some(()).ok_or_else(expected)
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

/// Where an endpoint stands, as proxies give it as `node.locality.zone`.
pub(crate) fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| match text {
        "" => Err("expected the name of a zone, found an empty string".into()),
        _ if text.len() > 253 => Err(format!("expected at most 253 bytes, found {}", text.len())),
        _ if text.chars().any(char::is_control) => Err("expected no control characters".into()),
        _ => Ok(()),
    })
    .map(Some)
}

/// A name to ask the DNS for. Unlike a host that is served it may have underscores and a dot at the end.
pub(crate) fn dns_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
        let name = text.strip_suffix('.').unwrap_or(text);
        if text.parse::<IpAddr>().is_ok() {
            return Err(format!(
                "expected a name such as orders.svc, found the address {text:?}: it belongs into `endpoints`"
            ));
        }
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(format!("expected a name such as orders.svc, found {text:?}"));
        }
        Ok(())
    })
}

/// Where a collector listens.
pub(crate) fn collector<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HostPort, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |reason: &str| {
        let expected = "expected HOST:PORT such as 127.0.0.1:4317 or collector.example.com:4317";
        Error::custom(format!("{expected}, found {text:?}{reason}"))
    };
    if text.contains("://") {
        return Err(wrong(": without a scheme; what is spoken is OTLP over gRPC"));
    }
    let collector: HostPort = text.parse().map_err(|_| wrong(""))?;
    let is_label = |label: &str| !label.is_empty();
    match collector.host().parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => {
            Err(wrong(": a collector may listen there, but that is nowhere to send to"))
        }
        Err(_) if collector.host().len() > 253 || !collector.host().split('.').all(is_label) => {
            Err(wrong(": that is no name of a host"))
        }
        Ok(_) | Err(_) => Ok(collector),
    }
}

/// What a health check asks for.
pub(crate) fn check_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text| match text {
        _ if !text.starts_with('/') => {
            Err(format!("expected a path such as /healthz, found {text:?}: it starts with /"))
        }
        _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(format!(
            "expected a path such as /healthz, found {text:?}: what is no printable ASCII has to be percent-encoded"
        )),
        _ => Ok(()),
    })
}

/// A file's path.
pub(crate) fn file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| match text {
        "" => Err("expected the path of a file, found an empty string".into()),
        _ if text.contains(char::is_control) => Err("expected no control characters".into()),
        _ => Ok(()),
    })
    .map(Some)
}

/// What a certificate may be made out to.
fn check_subject(text: &str) -> Result<(), String> {
    let is_uri = text.split_once("://").is_some_and(|(scheme, rest)| {
        is_label(&scheme.replace(['+', '.'], "-"))
            && !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_graphic())
    });
    if is_uri || text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    check_hostname(text).map_err(|_| {
        format!("expected a host name, a URI such as spiffe://shop/orders or an IP address, found {text:?}")
    })
}

/// The names of which a certificate has to have one.
pub(crate) fn subject_alt_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Subject(String);
    impl<'de> Deserialize<'de> for Subject {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            checked(deserializer, check_subject).map(Self)
        }
    }
    Ok(Vec::<Subject>::deserialize(deserializer)?.into_iter().map(|subject| subject.0).collect())
}

/// A host name without a wildcard.
pub(crate) fn server_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| match text {
        _ if text.starts_with("*.") => Err(format!("expected one host name, found {text:?}")),
        _ => check_hostname(text),
    })
    .map(Some)
}
