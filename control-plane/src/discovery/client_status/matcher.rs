//! Which clients are asked about.

use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{NodeMatcher, StringMatcher};
use tonic::Status;

/// Any of these; all clients if there are none.
#[derive(Debug)]
pub(super) struct Matchers(Vec<Matcher>);

#[derive(Debug)]
struct Matcher {
    pattern: Pattern,
    ignore_case: bool,
}

#[derive(Debug)]
enum Pattern {
    Everything,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
}

impl TryFrom<&[NodeMatcher]> for Matchers {
    type Error = Status;

    fn try_from(matchers: &[NodeMatcher]) -> Result<Self, Status> {
        matchers.iter().map(Matcher::try_from).collect::<Result<_, _>>().map(Self)
    }
}

impl Matchers {
    /// Whether the client with this `node.id` is asked about.
    pub(super) fn matches(&self, id: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|matcher| matcher.matches(id))
    }
}

impl TryFrom<&NodeMatcher> for Matcher {
    type Error = Status;

    fn try_from(matcher: &NodeMatcher) -> Result<Self, Status> {
        if !matcher.node_metadatas.is_empty() {
            return Err(Status::invalid_argument("node_metadatas are not served here: match by node_id"));
        }
        let Some(StringMatcher { match_pattern, ignore_case }) = &matcher.node_id else {
            return Ok(Self { pattern: Pattern::Everything, ignore_case: false });
        };
        let folded = |text: &String| if *ignore_case { text.to_lowercase() } else { text.clone() };
        let pattern = match match_pattern {
            Some(MatchPattern::Exact(text)) => Pattern::Exact(folded(text)),
            Some(MatchPattern::Prefix(text)) => Pattern::Prefix(folded(text)),
            Some(MatchPattern::Suffix(text)) => Pattern::Suffix(folded(text)),
            Some(MatchPattern::Contains(text)) => Pattern::Contains(folded(text)),
            _ => {
                return Err(Status::invalid_argument(
                    "node_id is matched by exact, prefix, suffix or contains",
                ));
            }
        };
        Ok(Self { pattern, ignore_case: *ignore_case })
    }
}

impl Matcher {
    fn matches(&self, id: &str) -> bool {
        let folded = if self.ignore_case { id.to_lowercase() } else { id.to_owned() };
        match &self.pattern {
            Pattern::Everything => true,
            Pattern::Exact(text) => folded == *text,
            Pattern::Prefix(text) => folded.starts_with(text),
            Pattern::Suffix(text) => folded.ends_with(text),
            Pattern::Contains(text) => folded.contains(text),
        }
    }
}
