//! A request as somebody describes it, and as Envoy sees it once it has tidied it up.

use std::borrow::Cow;
use std::collections::BTreeMap;

use spillway_policy::engine;

use crate::resource::route::ROUTE_KEY_HEADER;

/// Envoy takes headers of these names away before it looks at a request.
const RESERVED: &str = "x-spillway-";

/// A request, and what Envoy has found out about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) is_tls: bool,
    /// Lower case, without port.
    pub(super) host: String,
    /// The port that the URL names.
    pub(super) port: Option<u16>,
    /// `:path`: with query.
    pub(super) target: String,
    /// By lower-case name, `:method` included; several values as Envoy joins them.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) client_address: Option<String>,
    pub(super) server_name: Option<String>,
    /// The route key that is known before a route is chosen.
    pub(super) early_key: Option<String>,
    pub(super) route_name: Option<String>,
    pub(super) filter_chain: Option<String>,
    pub(super) backend: Option<String>,
}

/// What Envoy answers itself, before it asks for a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Early {
    /// The path has an escaped slash.
    EscapedSlash,
    /// A header's name has an underscore.
    Underscore(String),
}

/// Why a description is no request.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum RequestError {
    #[error("expected a request such as 'GET https://shop.example.com/orders?v=2', found {0:?}")]
    Shape(String),
    #[error("expected a method such as GET, found {0:?}")]
    Method(String),
    #[error("expected a URL that begins with http:// or https://, found {0:?}")]
    Scheme(String),
    #[error("expected a host such as shop.example.com in the URL, found {0:?}")]
    Host(String),
    #[error("expected a port from 1 to 65535 in the URL, found {0:?}")]
    Port(String),
    #[error("expected a path of printable ASCII (percent-encode the rest), found {0:?}")]
    Path(String),
    #[error("expected a header such as 'x-tenant-id: acme', found {0:?}")]
    Header(String),
}

impl Request {
    /// Reads `METHOD URL`, or only `URL` for a GET, and headers as `name: value`.
    pub(super) fn parse(line: &str, headers: &[String]) -> Result<Self, RequestError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (method, url) = match words.as_slice() {
            [url] => ("GET", *url),
            [method, url] => (*method, *url),
            _ => return Err(RequestError::Shape(line.to_owned())),
        };
        if !is_token(method) {
            return Err(RequestError::Method(method.to_owned()));
        }
        let scheme = || RequestError::Scheme(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(scheme)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(RequestError::Scheme(url.to_owned())),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = host_and_port(authority)?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RequestError::Path(target));
        }
        let mut request = Self { is_tls, host, port, target, ..Self::default() };
        request.server_name = is_tls.then(|| request.host.clone());
        request.headers.insert(":method".to_owned(), method.to_owned());
        request.headers.insert(":authority".to_owned(), authority.to_owned());
        for header in headers {
            request.add_header(header)?;
        }
        Ok(request)
    }

    fn add_header(&mut self, header: &str) -> Result<(), RequestError> {
        let (name, value) = header.split_once(':').ok_or_else(|| RequestError::Header(header.to_owned()))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if !is_token(&name) || value.contains(['\r', '\n', '\0']) {
            return Err(RequestError::Header(header.to_owned()));
        }
        let separator = if name == "cookie" { "; " } else { "," };
        self.headers
            .entry(name)
            .and_modify(|old| {
                old.push_str(separator);
                old.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
        Ok(())
    }

    /// Tidies the request up as Spillway's listeners have Envoy do it, or says what Envoy answers instead.
    pub(super) fn tidy(&mut self) -> Option<Early> {
        self.headers.retain(|name, _| !name.starts_with(RESERVED) && name != ROUTE_KEY_HEADER);
        if let Some(name) = self.headers.keys().find(|name| name.contains('_')) {
            return Some(Early::Underscore(name.clone()));
        }
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target.as_str(), None),
        };
        let target = |path: String| match query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let lower = path.to_ascii_lowercase();
        if lower.contains("%2f") || lower.contains("%5c") {
            return Some(Early::EscapedSlash);
        }
        self.target = target(normalize(path));
        None
    }

    /// The path, without query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn method(&self) -> &str {
        self.headers.get(":method").map(String::as_str).unwrap_or_default()
    }
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), RequestError> {
    let (host, port) = match authority.rsplit_once(':') {
        // A colon within brackets belongs to an IPv6 address.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        None => None,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(RequestError::Port(text.to_owned())),
        },
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    if host.is_empty() || !host.bytes().all(fits) {
        return Err(RequestError::Host(authority.to_owned()));
    }
    Ok((host.to_ascii_lowercase(), port))
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// As `normalize_path` and `merge_slashes` do it: letters, digits and `-._~` are not escaped, `\` is `/`, slashes in a row are one, `.` and `..` are
/// resolved.
fn normalize(path: &str) -> String {
    let plain = unescape(path).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in plain.split('/').skip(1) {
        ends_open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let path = format!("/{}", segments.join("/"));
    if ends_open && path != "/" { path + "/" } else { path }
}

fn unescape(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                plain.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                plain.push('%');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn bytes(value: Option<&String>) -> Option<Cow<'_, [u8]>> {
    value.map(|value| Cow::Borrowed(value.as_bytes()))
}

impl engine::Request for Request {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        if name == ":path" { self.path_bytes() } else { bytes(self.headers.get(name)) }
    }

    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.path_bytes()
    }

    fn route_name(&self) -> Option<Cow<'_, [u8]>> {
        bytes(self.route_name.as_ref())
    }

    fn filter_chain(&self) -> Option<Cow<'_, [u8]>> {
        bytes(self.filter_chain.as_ref())
    }

    fn backend(&self) -> Option<Cow<'_, [u8]>> {
        bytes(self.backend.as_ref())
    }

    fn client_address(&self) -> Option<Cow<'_, [u8]>> {
        bytes(self.client_address.as_ref())
    }

    fn server_name(&self) -> Option<Cow<'_, [u8]>> {
        bytes(self.server_name.as_ref())
    }
}

impl Request {
    #[allow(clippy::unnecessary_wraps, reason = "the engine asks for something that may be missing")]
    fn path_bytes(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.target.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Request {
        Request::parse(line, &[]).unwrap()
    }

    #[test]
    fn a_request_is_a_method_and_a_url() {
        let request = parse("POST https://Shop.Example.com:8443/a/b?c=d#e");
        assert_eq!(
            (request.method(), request.host.as_str(), request.port),
            ("POST", "shop.example.com", Some(8443))
        );
        assert_eq!((request.target.as_str(), request.path()), ("/a/b?c=d", "/a/b"));
        assert_eq!(request.server_name.as_deref(), Some("shop.example.com"));
        let request = parse("http://[2001:db8::1]");
        assert_eq!((request.method(), request.host.as_str(), request.path()), ("GET", "[2001:db8::1]", "/"));
        assert_eq!((request.port, request.server_name), (None, None));
        assert_eq!(parse("http://a.b?x").target, "/?x");
        assert_eq!(parse("http://a.b.:1/").host, "a.b");
    }

    #[test]
    fn what_is_no_request_is_told_what_was_expected() {
        for (line, expected) in [
            ("", "expected a request such as"),
            ("GET http://a /b", "expected a request such as"),
            ("GE(T http://a/", "expected a method such as GET"),
            ("GET shop.example.com/", "begins with http://"),
            ("ftp://a/", "begins with http://"),
            ("http:///a", "expected a host"),
            ("http://user@a/", "expected a host"),
            ("http://a:0/", "expected a port"),
            ("http://a:99999/", "expected a port"),
            ("http://a/\u{e4}", "percent-encode"),
        ] {
            let error = Request::parse(line, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
        for header in ["x-a", ": b", "x a: b", "x-a: b\nc"] {
            assert!(matches!(
                Request::parse("http://a/", &[header.to_owned()]),
                Err(RequestError::Header(_))
            ));
        }
    }

    #[test]
    fn headers_are_joined_and_reserved_ones_are_nobody_s() {
        let headers = ["X-A: 1", "x-a:2", "cookie: a=b", "Cookie: c=d", "x-route-key: k", "X-Spillway-B: c"];
        let headers: Vec<String> = headers.map(Into::into).into();
        let mut request = Request::parse("http://a/", &headers).unwrap();
        assert_eq!(request.tidy(), None);
        let shown: Vec<_> = request.headers.iter().filter(|(name, _)| !name.starts_with(':')).collect();
        assert_eq!(format!("{shown:?}"), r#"[("cookie", "a=b; c=d"), ("x-a", "1,2")]"#);
        let mut request = Request::parse("http://a/", &["x_a: 1".into()]).unwrap();
        assert_eq!(request.tidy(), Some(Early::Underscore("x_a".into())));
    }

    #[test]
    fn paths_are_tidied_up_as_envoy_does_it() {
        for (path, tidy) in [
            ("/", "/"),
            ("//a///b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/./b/", "/a/b/"),
            ("/../../a", "/a"),
            ("/a/b/..", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/%41%7e%c3%bc%20%", "/A~%c3%bc%20%"),
            ("/a\\b", "/a/b"),
            ("/a?b=//../%2F", "/a?b=//../%2F"),
        ] {
            let mut request = parse(&format!("http://a{path}"));
            assert_eq!(request.tidy(), None, "{path}");
            assert_eq!(request.target, tidy);
        }
        let mut request = parse("http://a/b%2Fc?d");
        assert_eq!(request.tidy(), Some(Early::EscapedSlash));
    }
}
