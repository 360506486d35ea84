//! The document language: YAML text in, documents with a place for every error out.

use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde::de::IgnoredAny;

mod de;
pub mod diagnostic;
pub(crate) mod expression;
pub mod kind;
pub mod reference;
mod scalar;
pub mod schema;
mod segment;
mod suggest;
pub(crate) mod syntax;
mod text;
mod tree;
mod yaml;

use self::diagnostic::Problem;
pub use self::diagnostic::{Diagnostic, Source};
use self::kind::{Kind, Spec};
pub(crate) use self::segment::{Segment, split};
pub(crate) use self::suggest::name as suggest_name;
pub use self::text::MAX_BYTES;
pub(crate) use self::text::too_large;
pub use self::tree::Place;
pub(crate) use self::tree::Step;
use self::tree::{Node, Value};

/// What every document's `apiVersion` is.
pub const API_VERSION: &str = "spillway.dev/v1";

/// A document as it was written.
#[derive(Debug)]
pub struct Document {
    source: Arc<Source>,
    segment: Segment,
    /// With the marks of errors where there were any. Otherwise it is read again when a place is asked for: places are only needed
    /// for errors, and trees are many times the size of their text.
    tree: OnceLock<Node>,
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its name.
    pub(crate) name: String,
    /// Its content; where errors were reported, what is left of it. `None` if nothing is left.
    pub(crate) spec: Option<Spec>,
    /// Whether errors were reported.
    pub(crate) has_errors: bool,
}

/// More errors than this of one kind of check in one document help nobody.
pub(crate) const MAX_PROBLEMS: usize = 100;

/// Everything that a file holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// Its documents, those with errors too.
    pub(crate) documents: Vec<Arc<Document>>,
    /// Every error that can be found without looking at other documents.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Whether some document could not even be named: a reference that leads nowhere may mean that one.
    pub(crate) has_nameless: bool,
}

/// What surrounds every document's `spec`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    kind: Kind,
    metadata: Metadata,
    #[serde(rename = "spec")]
    _spec: IgnoredAny,
}

struct ApiVersion;

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)? {
            version if version == API_VERSION => Ok(Self),
            version => Err(serde::de::Error::custom(format!("expected {API_VERSION}, found {version:?}"))),
        }
    }
}

/// What identifies a document.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Metadata {
    /// A DNS label, unique among the documents of its kind.
    #[serde(deserialize_with = "syntax::label")]
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63))]
    name: String,
}

/// Reads a file's bytes, which came from `name`.
pub fn read(name: impl Into<std::path::PathBuf>, bytes: &[u8]) -> Contents {
    let name = name.into();
    let text = match text::decode(bytes) {
        Ok(text) => text,
        Err(problem) => {
            // Of text that can't be trusted nothing is shown but the place.
            return unread(name, problem);
        }
    };
    let source = Source::new(name, text);
    let parsed = yaml::parse(source.text());
    let mut contents = Contents { has_nameless: !parsed.complete, ..Contents::default() };
    if parsed.documents.is_empty() && parsed.complete {
        let problem = Problem::new("the file is empty: it has no document")
            .help("delete it, or write a document into it");
        contents.diagnostics.push(source.diagnostic("", problem));
    }
    contents.diagnostics.extend(parsed.problems.into_iter().map(|problem| source.diagnostic("", problem)));
    let segments = segment::split(source.text());
    for tree in parsed.documents {
        let at = segments.partition_point(|segment| segment.line <= tree.place.line);
        let segment = at.checked_sub(1).and_then(|at| segments.get(at)).cloned();
        contents.add(&source, segment.unwrap_or_else(|| Segment::of_all(source.text())), tree);
    }
    contents
}

/// The first document of a text as JSON; `None` if the text is not YAML to its end, or has no document.
pub fn json(text: &str) -> Option<serde_json::Value> {
    let yaml::Parsed { documents, complete, .. } = yaml::parse(text);
    documents.first().filter(|_| complete).map(Node::to_json)
}

/// A file that could not be read at all.
pub(crate) fn unread(name: impl Into<std::path::PathBuf>, problem: Problem) -> Contents {
    Contents {
        documents: Vec::new(),
        diagnostics: vec![Diagnostic::of_file(name, problem)],
        has_nameless: true,
    }
}

impl Contents {
    /// The same without some documents and what is wrong with them.
    pub(crate) fn without(&self, is_out: impl Fn(&Arc<Document>) -> bool) -> Self {
        let (out, documents): (Vec<_>, Vec<_>) =
            self.documents.iter().cloned().partition(|document| is_out(document));
        let titles: Vec<_> = out.iter().map(|document| document.title()).collect();
        let diagnostics = self.diagnostics.iter().filter(|diagnostic| !titles.contains(&diagnostic.document));
        Self { documents, diagnostics: diagnostics.cloned().collect(), has_nameless: self.has_nameless }
    }

    fn add(&mut self, source: &Arc<Source>, segment: Segment, mut tree: Node) {
        let title = title(&tree);
        let envelope = de::read::<Envelope>(&mut tree, "");
        let mut problems = envelope.problems;
        let identified = envelope.value.map(|envelope| (envelope.kind, envelope.metadata.name));
        let kind = identified.as_ref().map(|(kind, _)| *kind).filter(|_| is_sound(&tree, &["kind"]));
        // What has the kind of another language is read as ours: whoever moves here hears of everything at once.
        let foreign = title.split(' ').next().and_then(suggest::counterpart);
        let spec = match (kind.or(foreign), tree.descend_mut(&spec_position(&tree))) {
            (Some(kind), Some(node)) => read_spec(kind, node, &mut problems),
            _ => None,
        };
        let has_errors = !problems.is_empty();
        self.diagnostics.extend(problems.into_iter().map(|problem| source.diagnostic(&title, problem)));
        match (kind, identified) {
            (Some(kind), Some((_, name))) if is_sound(&tree, &["metadata", "name"]) => {
                let tree = if has_errors { OnceLock::from(tree) } else { OnceLock::new() };
                let source = Arc::clone(source);
                self.documents.push(Arc::new(Document {
                    source,
                    segment,
                    tree,
                    kind,
                    name,
                    spec,
                    has_errors,
                }));
            }
            _ => self.has_nameless = true,
        }
    }
}

/// Whether a value is there as it was written, not a guess in place of one that was wrong.
fn is_sound(tree: &Node, path: &[&'static str]) -> bool {
    let path: Vec<_> = path.iter().map(|name| Step::Field(name)).collect();
    !tree.find(&path).tainted
}

/// The way to `spec`; to nowhere if there is none.
fn spec_position(tree: &Node) -> Vec<usize> {
    let Value::Mapping(entries) = &tree.value else { return vec![usize::MAX] };
    let position = entries.iter().position(|entry| &*entry.key == "spec" && !entry.node.is_tainted());
    vec![position.unwrap_or(usize::MAX)]
}

fn read_spec(kind: Kind, node: &mut Node, problems: &mut Vec<Problem>) -> Option<Spec> {
    fn as_spec<T: serde::de::DeserializeOwned>(
        node: &mut Node,
        problems: &mut Vec<Problem>,
        spec: fn(Arc<T>) -> Spec,
    ) -> Option<Spec> {
        let reading = de::read(node, "spec");
        problems.extend(reading.problems);
        reading.value.map(|value| spec(Arc::new(value)))
    }
    match kind {
        Kind::Gateway => as_spec(node, problems, Spec::Gateway),
        Kind::Route => as_spec(node, problems, Spec::Route),
        Kind::Backend => as_spec(node, problems, Spec::Backend),
        Kind::TrafficPolicy => as_spec(node, problems, Spec::TrafficPolicy),
        Kind::Certificate => as_spec(node, problems, Spec::Certificate),
    }
}

/// Kind and name as written, right or wrong.
fn title(tree: &Node) -> String {
    let text = |node: Option<&Node>| match node.map(|node| &node.value) {
        Some(Value::Scalar { text, .. }) => text.chars().take(80).collect(),
        _ => String::new(),
    };
    let kind = text(tree.get("kind"));
    let name = text(tree.get("metadata").and_then(|metadata| metadata.get("name")));
    format!("{kind} {name}").trim().to_owned()
}

impl Document {
    /// Kind and name, as errors call the document.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// An error at a field, or `None` if what stands there (or stood there, or within) has been reported already.
    pub(crate) fn problem(
        &self,
        path: &[Step],
        message: impl Into<String>,
        help: Option<String>,
    ) -> Option<Diagnostic> {
        let found = self.tree().find(path);
        if found.tainted {
            return None;
        }
        let mut problem = Problem::new(message).at(found.place).field(found.field.into_string());
        problem.help = help;
        Some(self.source.diagnostic(&self.title(), problem))
    }

    fn tree(&self) -> &Node {
        self.tree.get_or_init(|| {
            let text = self.source.text().get(self.segment.whole.clone()).unwrap_or_default();
            let mut documents = yaml::parse(text).documents;
            let mut tree =
                if documents.is_empty() { Node::blank(Place::default()) } else { documents.swap_remove(0) };
            tree.shift(self.segment.line.saturating_sub(1));
            tree
        })
    }

    /// Which part of its file it is.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Everything that stands in its file.
    pub(crate) fn file_text(&self) -> &str {
        self.source.text()
    }

    /// What was written, with the comments before it.
    pub fn text(&self) -> &str {
        self.source.text().get(self.segment.text(self.source.text())).unwrap_or_default()
    }

    /// What was written, without the comments before it.
    pub(crate) fn body(&self) -> &str {
        self.source.text().get(self.segment.body(self.source.text())).unwrap_or_default()
    }

    /// Whether what was read of some fields, here relative to `path`, is what was written.
    pub(crate) fn is_sound(&self, path: &[Step], fields: &[&'static str]) -> bool {
        if !self.has_errors {
            return true;
        }
        let tainted =
            |field: &&'static str| self.tree().find(&[path, &[Step::Field(field)]].concat()).tainted;
        !fields.iter().any(tainted)
    }

    /// The directory of the file in which it stands: what paths in it are relative to.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.source.name().parent().unwrap_or(std::path::Path::new(""))
    }

    /// Where a field is, as `file:line`.
    pub(crate) fn location(&self, path: &[Step]) -> String {
        format!("{}:{}", self.source.name().display(), self.tree().find(path).place.line)
    }
}

#[cfg(test)]
mod tests;
