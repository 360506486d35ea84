//! How a listener's hostname and a route's narrow each other, as the Gateway API defines it.

/// The hosts that a listener and a route have in common, without duplicates: `None` if there are none, empty if every host is meant.
pub fn common<'a>(listener: Option<&'a str>, route: &'a [String]) -> Option<Vec<&'a str>> {
    let mut hosts: Vec<&str> = match listener {
        None => route.iter().map(String::as_str).collect(),
        Some(listener) if route.is_empty() => vec![listener],
        Some(listener) => {
            let both: Vec<_> = route.iter().filter_map(|host| narrower(listener, host)).collect();
            if both.is_empty() {
                return None;
            }
            both
        }
    };
    hosts.sort_unstable();
    hosts.dedup();
    Some(hosts)
}

/// The one of two hostnames that covers only what both cover.
fn narrower<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    if covers(one, other) {
        Some(other)
    } else if covers(other, one) {
        Some(one)
    } else {
        None
    }
}

/// Whether every host of `narrow` is one of `wide`. `*.example.com` is every host below `example.com`, at any depth, and not that one.
pub fn covers(wide: &str, narrow: &str) -> bool {
    wide == narrow
        || wide.strip_prefix('*').is_some_and(|suffix| {
            let narrow = narrow.strip_prefix('*').unwrap_or(narrow);
            narrow.len() > suffix.len() && narrow.ends_with(suffix)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_what_is_below_it() {
        assert!(covers("*.example.com", "a.example.com"));
        assert!(covers("*.example.com", "b.a.example.com"));
        assert!(covers("*.example.com", "*.a.example.com"));
        assert!(covers("*.example.com", "*.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("*.example.com", "aexample.com"));
        assert!(!covers("*.a.example.com", "*.example.com"));
        assert!(!covers("a.example.com", "b.example.com"));
    }

    #[test]
    fn a_listener_and_a_route_serve_only_what_both_name() {
        let route = |hosts: &[&str]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(common(None, &[]), Some(vec![]));
        assert_eq!(common(Some("*.example.com"), &[]), Some(vec!["*.example.com"]));
        assert_eq!(common(None, &route(&["b.com", "a.com", "b.com"])), Some(vec!["a.com", "b.com"]));
        assert_eq!(common(Some("a.com"), &route(&["*.com", "b.com"])), Some(vec!["a.com"]));
        assert_eq!(
            common(Some("*.example.com"), &route(&["a.example.com", "b.com"])),
            Some(vec!["a.example.com"])
        );
        assert_eq!(common(Some("a.com"), &route(&["b.com"])), None);
    }
}
