//! `If-Match` and `If-None-Match`: RFC 9110, section 13. Entity tags are revision numbers.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

use crate::api::problem::{Problem, ProblemKind};

/// What a header names.
#[derive(Debug, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<Tag>),
}

#[derive(Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    text: String,
}

impl Tags {
    /// Of a writer: a list that names nothing is no belief, but most likely a mistake.
    fn believed(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        match Self::of(headers, name)? {
            Some(Self::These(tags)) if tags.is_empty() => Err(wrong(name)),
            tags => Ok(tags),
        }
    }

    fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(name).iter().peekable();
        if values.peek().is_none() {
            return Ok(None);
        }
        let wrong = || wrong(name);
        let mut tags = Vec::new();
        for value in values {
            let mut text = value.to_str().map_err(|_| wrong())?.trim();
            if text == "*" {
                return Ok(Some(Self::Any));
            }
            // A list may have elements with nothing in them (section 5.6.1).
            loop {
                text = text.trim_start_matches([',', ' ', '\t']);
                if text.is_empty() {
                    break;
                }
                let weak = text.strip_prefix("W/");
                let quoted = weak.unwrap_or(text).strip_prefix('"').ok_or_else(wrong)?;
                let (tag, rest) = quoted.split_once('"').ok_or_else(wrong)?;
                tags.push(Tag { weak: weak.is_some(), text: tag.to_owned() });
                text = rest.trim_start();
                if !text.is_empty() && !text.starts_with(',') {
                    return Err(wrong());
                }
            }
        }
        Ok(Some(Self::These(tags)))
    }
}

fn wrong(name: &HeaderName) -> Problem {
    Problem::new(ProblemKind::InvalidRequest)
        .detail(format!("{name}: expected * or entity tags such as \"7\""))
}

/// Whether a reader has this already.
pub(super) fn is_known(headers: &HeaderMap, revision: u64) -> Result<bool, Problem> {
    Ok(match Tags::of(headers, &IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::These(tags)) => tags.iter().any(|tag| tag.text == revision.to_string()),
    })
}

/// Checks what a writer believes to be current: `current` is `None` where there is nothing yet. Gives the revision that the store is to
/// check once more when it writes, if the writer believes anything.
pub(super) fn expected(headers: &HeaderMap, current: Option<u64>) -> Result<Option<u64>, Problem> {
    let conflict = |detail: String| {
        let mut problem = Problem::new(ProblemKind::Conflict).detail(detail);
        problem.revision = current;
        problem
    };
    if let Some(tags) = Tags::believed(headers, &IF_MATCH)? {
        let Some(revision) = current else {
            return Err(conflict("If-Match: there is nothing".into()));
        };
        let matches = match tags {
            Tags::Any => true,
            Tags::These(tags) => tags.iter().any(|tag| !tag.weak && tag.text == revision.to_string()),
        };
        return if matches {
            Ok(Some(revision))
        } else {
            Err(conflict(format!("If-Match: it was last changed in revision {revision}")))
        };
    }
    match (Tags::believed(headers, &IF_NONE_MATCH)?, current) {
        (None, _) => Ok(None),
        (Some(Tags::Any), Some(revision)) => {
            Err(conflict(format!("If-None-Match: it exists, since revision {revision}")))
        }
        (Some(Tags::These(tags)), Some(revision))
            if tags.iter().any(|tag| tag.text == revision.to_string()) =>
        {
            Err(conflict(format!("If-None-Match: it is revision {revision}")))
        }
        (Some(_), Some(revision)) => Ok(Some(revision)),
        (Some(_), None) => Ok(Some(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_writer_who_believes_what_is_no_more_so_is_refused() {
        let expected_if = |value: &str, current| {
            expected(&headers(IF_MATCH, value), current).map_err(|problem| problem.status)
        };
        assert_eq!(expected(&HeaderMap::new(), Some(7)), Ok(None));
        assert_eq!(expected_if("\"7\"", Some(7)), Ok(Some(7)));
        assert_eq!(expected_if("\"6\", \"7\"", Some(7)), Ok(Some(7)));
        assert_eq!(expected_if("*", Some(7)), Ok(Some(7)));
        assert_eq!(expected_if("\"6\"", Some(7)), Err(412));
        assert_eq!(expected_if("\"8\"", Some(7)), Err(412));
        // RFC 9110 compares strongly here.
        assert_eq!(expected_if("W/\"7\"", Some(7)), Err(412));
        assert_eq!(expected_if("*", None), Err(412));
        for malformed in ["7", "\"7", "\"7\" \"8\"", "", ","] {
            assert_eq!(expected_if(malformed, Some(7)), Err(400), "{malformed}");
        }
    }

    #[test]
    fn a_writer_who_creates_does_not_replace() {
        let star = headers(IF_NONE_MATCH, "*");
        assert_eq!(expected(&star, None), Ok(Some(0)));
        assert_eq!(expected(&star, Some(3)).unwrap_err().revision, Some(3));
    }

    #[test]
    fn a_reader_who_has_it_is_told_so() {
        assert_eq!(is_known(&headers(IF_NONE_MATCH, "W/\"3\""), 3), Ok(true));
        assert_eq!(is_known(&headers(IF_NONE_MATCH, "\"2\""), 3), Ok(false));
        assert_eq!(is_known(&HeaderMap::new(), 3), Ok(false));
        for nothing in ["", ",", ", ,"] {
            assert_eq!(is_known(&headers(IF_NONE_MATCH, nothing), 3), Ok(false), "{nothing}");
        }
        assert_eq!(is_known(&headers(IF_NONE_MATCH, ", \"2\",,\"3\" ,"), 3), Ok(true));
        assert_eq!(is_known(&headers(IF_NONE_MATCH, "\"2\" \"3\""), 3).unwrap_err().status, 400);
    }
}
