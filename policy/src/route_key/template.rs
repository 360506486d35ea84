//! Path templates: `/orders/{tenant}/**` with the key `{tenant}`.
//!
//! The path is taken up to the first `?` or `#` and cut at each `/`. A segment of a template is a literal, which matches byte for byte; `{name}` or `*`, which match one
//! segment that is not empty; or, only at the end, `**`, which matches whatever is left, nothing included (`/a/**` matches `/a`, `/a/` and `/a/b/c`).
//!
//! Nothing is decoded or cleaned. `%2F` is three bytes of a segment and no separator, `/Orders` is not `/orders`, `/orders//x` has an empty segment that no placeholder
//! takes, and `..` is a segment like any other. So a client can write one segment in many ways (`acme`, `%61cme`), and an upstream that decodes takes
//! them for the same while the key does not. What the proxy's path normalization makes equal is equal here, because it runs before the filter: leave it on
//! where a key from the path must not be evaded.

/// A compiled template and the key made of what it captures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(super) segments: Vec<Segment>,
    /// Whether `**` stands at the end.
    pub(super) open: bool,
    key: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(Box<[u8]>),
    /// `*` or a placeholder that the key does not use.
    Any,
    /// A placeholder, by its number.
    Capture(u8),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<[u8]>),
    Capture(u8),
}

/// What is wrong, in the template or in its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mistake {
    Template(String),
    Key(String),
}

/// More placeholders than anyone needs; captures are kept in an array of this size.
const MAX_CAPTURES: usize = 16;

const TWO_STARS: &str = "'**' can stand only at the end, as a segment of its own";

impl Template {
    pub(crate) fn parse(template: &str, key: &str) -> Result<Self, Mistake> {
        let wrong = |message: String| Mistake::Template(message);
        let Some(path) = template.strip_prefix('/') else {
            return Err(wrong(format!("expected a template that begins with '/', found {template:?}")));
        };
        if path.contains(['?', '#']) {
            return Err(wrong("a template matches the path only: it can't contain '?' or '#'".into()));
        }
        let (path, open) = match path.strip_suffix("**") {
            Some("") => ("", true),
            Some(path) => match path.strip_suffix('/') {
                Some(path) => (path, true),
                None => return Err(wrong(TWO_STARS.into())),
            },
            None => (path, false),
        };
        let mut names = Vec::new();
        let mut segments = Vec::new();
        // `/` alone is one empty segment, `/**` is none at all.
        let texts = path.split('/').filter(|_| !(open && path.is_empty()));
        for text in texts {
            segments.push(Self::segment(text, &mut names).map_err(wrong)?);
        }
        // A slash at the end is one empty segment; one is all there can be.
        let inner = segments.len() - usize::from(!open && !segments.is_empty());
        if segments
            .iter()
            .take(inner)
            .any(|segment| matches!(segment, Segment::Literal(text) if text.is_empty()))
        {
            return Err(wrong("a segment between two '/' is empty".into()));
        }
        let key = Self::key(key, &names).map_err(Mistake::Key)?;
        Ok(Self { segments, open, key })
    }

    fn segment<'t>(text: &'t str, names: &mut Vec<&'t str>) -> Result<Segment, String> {
        if text == "*" {
            return Ok(Segment::Any);
        }
        if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            if !is_name(name) {
                return Err(format!(
                    "expected a placeholder such as {{tenant}} (letters, digits, '_', '-'), found {text:?}"
                ));
            }
            if names.contains(&name) {
                return Err(format!("the placeholder {text} is there twice"));
            }
            if names.len() == MAX_CAPTURES {
                return Err(format!("more than {MAX_CAPTURES} placeholders"));
            }
            names.push(name);
            return Ok(Segment::Capture(u8::try_from(names.len() - 1).unwrap_or(u8::MAX)));
        }
        if text.contains("**") {
            return Err(TWO_STARS.into());
        }
        if text.contains(['{', '}', '*']) {
            return Err(format!("a placeholder or '*' must be a whole segment, found {text:?}"));
        }
        Ok(Segment::Literal(text.as_bytes().into()))
    }

    fn key(key: &str, names: &[&str]) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        let mut rest = key;
        while !rest.is_empty() {
            let (literal, placeholder) = rest.split_once('{').map_or((rest, None), |(l, p)| (l, Some(p)));
            if literal.contains('}') {
                return Err(format!("'}}' without '{{' in {key:?}"));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.as_bytes().into()));
            }
            let Some(placeholder) = placeholder else { break };
            let Some((name, after)) = placeholder.split_once('}') else {
                return Err(format!("'{{' without '}}' in {key:?}"));
            };
            let Some(number) = names.iter().position(|known| *known == name) else {
                return Err(format!("the template has no placeholder {{{name}}}"));
            };
            pieces.push(Piece::Capture(u8::try_from(number).unwrap_or(u8::MAX)));
            rest = after;
        }
        if pieces.is_empty() {
            Err("expected a key such as {tenant}, found nothing".into())
        } else {
            Ok(pieces)
        }
    }

    /// Appends the key for `path`; nothing if the path does not match.
    pub(crate) fn append(&self, path: &[u8], key: &mut Vec<u8>) {
        let Some(captures) = self.captures(without_query(path)) else { return };
        for piece in &self.key {
            let bytes = match piece {
                Piece::Literal(literal) => literal,
                Piece::Capture(number) => captures.get(usize::from(*number)).copied().unwrap_or_default(),
            };
            key.extend_from_slice(bytes);
        }
    }

    /// `path` has neither query nor fragment.
    fn captures<'p>(&self, path: &'p [u8]) -> Option<[&'p [u8]; MAX_CAPTURES]> {
        let mut found = path.strip_prefix(b"/")?.split(|byte| *byte == b'/');
        let mut captures = [<&[u8]>::default(); MAX_CAPTURES];
        for segment in &self.segments {
            let text = found.next()?;
            match segment {
                Segment::Literal(literal) if **literal == *text => {}
                Segment::Literal(_) => return None,
                Segment::Any | Segment::Capture(_) if text.is_empty() => return None,
                Segment::Any => {}
                Segment::Capture(number) => {
                    if let Some(capture) = captures.get_mut(usize::from(*number)) {
                        *capture = text;
                    }
                }
            }
        }
        (self.open || found.next().is_none()).then_some(captures)
    }
}

/// The path of a request's target.
pub(crate) fn without_query(target: &[u8]) -> &[u8] {
    target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(template: &str, key: &str, path: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        Template::parse(template, key).unwrap().append(path, &mut bytes);
        (!bytes.is_empty()).then_some(bytes)
    }

    fn tenant(template: &str, path: &str) -> Option<String> {
        capture(template, "{tenant}", path.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_placeholder_takes_one_segment() {
        let template = "/orders/{tenant}/items";
        assert_eq!(tenant(template, "/orders/acme/items").as_deref(), Some("acme"));
        assert_eq!(tenant(template, "/orders/acme/items?tenant=other").as_deref(), Some("acme"));
        assert_eq!(tenant(template, "/orders/acme/items#top").as_deref(), Some("acme"));
        for path in [
            "/orders/acme",
            "/orders/acme/items/",
            "/orders/acme/items/7",
            "/orders/a/b/items",
            "/x/acme/items",
            "",
            "*",
            "orders/acme/items",
        ] {
            assert_eq!(tenant(template, path), None, "{path}");
        }
    }

    #[test]
    fn two_stars_take_what_is_left_even_nothing() {
        let template = "/orders/{tenant}/**";
        for path in
            ["/orders/acme", "/orders/acme/", "/orders/acme/a", "/orders/acme/a/b//c", "/orders/acme?q=/x"]
        {
            assert_eq!(tenant(template, path).as_deref(), Some("acme"), "{path}");
        }
        assert_eq!(tenant(template, "/orders"), None);
        assert_eq!(tenant(template, "/orders/"), None);
        assert_eq!(capture("/**", "all", b"/anything/at/all"), Some(b"all".to_vec()));
        assert_eq!(capture("/**", "all", b"/"), Some(b"all".to_vec()));
    }

    #[test]
    fn an_empty_segment_is_no_tenant() {
        assert_eq!(tenant("/orders/{tenant}/**", "/orders//x"), None);
        assert_eq!(tenant("/orders/{tenant}/**", "//orders/acme"), None);
        assert_eq!(tenant("/orders/*/{tenant}", "/orders//acme"), None);
    }

    #[test]
    fn nothing_is_decoded() {
        assert_eq!(tenant("/orders/{tenant}/**", "/orders/a%2Fb/c").as_deref(), Some("a%2Fb"));
        assert_eq!(tenant("/orders/{tenant}/**", "/orders/%61cme").as_deref(), Some("%61cme"));
        assert_eq!(tenant("/orders/{tenant}/**", "/orders/../x").as_deref(), Some(".."));
        assert_eq!(tenant("/orders/{tenant}/**", "/Orders/acme"), None);
        assert_eq!(capture("/o/{t}", "{t}", b"/o/\xff\x80").as_deref(), Some(&b"\xff\x80"[..]));
    }

    #[test]
    fn the_key_is_made_of_placeholders_and_text() {
        assert_eq!(capture("/{a}/{b}", "{b}-{a}!", b"/x/y"), Some(b"y-x!".to_vec()));
        assert_eq!(capture("/{a}/*", "{a}{a}", b"/x/y"), Some(b"xx".to_vec()));
        assert_eq!(capture("/health/", "health", b"/health/"), Some(b"health".to_vec()));
        assert_eq!(capture("/", "root", b"/"), Some(b"root".to_vec()));
        assert_eq!(capture("/", "root", b"/x"), None);
    }

    #[test]
    fn templates_that_mean_nothing_are_refused() {
        for template in [
            "",
            "orders/{t}",
            "/{t}/**/x",
            "/{t}**",
            "/x**/{t}",
            "/v{t}",
            "/{t",
            "/t}/{t}",
            "/{}/{t}",
            "/{t}/{t}",
            "/{t}/*x",
            "/{t}?q",
            "/a//{t}",
            "/{t}//**",
            "/{t u}",
        ] {
            assert!(matches!(Template::parse(template, "{t}"), Err(Mistake::Template(_))), "{template}");
        }
        for key in ["", "{u}", "{t", "t}", "{t}}", "{}", "{*}"] {
            assert!(matches!(Template::parse("/{t}/*", key), Err(Mistake::Key(_))), "{key}");
        }
    }
}
