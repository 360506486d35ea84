//! Errors as the API answers them: RFC 9457, "Problem Details for HTTP APIs".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::Diagnostic;

/// The media type of a [`Problem`].
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Which problem it is; programs compare this.
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    /// The same for people.
    pub title: String,
    /// The HTTP status that came with it.
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
    /// What was wrong in this case, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Of `invalid-documents`: everything that is wrong, in the order of files and lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<DocumentError>,
    /// Of `conflict`: the revision that is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The request's id, which the log has too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// One error in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentError {
    /// The file, as the request or the directory names it.
    pub file: String,
    /// From 1; absent where the whole file is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// From 1, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Kind and name of the document, as far as they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The path of the field, such as `spec.rules[0].backendRefs[1].weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong and what was expected.
    pub message: String,
    /// What may be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The whole error as `spillway check` prints it, with the offending line.
    pub rendered: String,
}

/// The problems that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProblemKind {
    /// Documents have errors; `errors` has every one of them. Nothing was changed.
    #[serde(rename = "urn:spillway:problem:invalid-documents")]
    InvalidDocuments,
    /// A path, a query, a header or a body that the API does not understand.
    #[serde(rename = "urn:spillway:problem:invalid-request")]
    InvalidRequest,
    /// No token, or a wrong one.
    #[serde(rename = "urn:spillway:problem:unauthorized")]
    Unauthorized,
    /// There is nothing under that path.
    #[serde(rename = "urn:spillway:problem:not-found")]
    NotFound,
    /// The path exists, but not with this method; `Allow` has those that there are.
    #[serde(rename = "urn:spillway:problem:method-not-allowed")]
    MethodNotAllowed,
    /// `Accept` names no form that there is.
    #[serde(rename = "urn:spillway:problem:not-acceptable")]
    NotAcceptable,
    /// `If-Match`, or the expected revision, is not what is current.
    #[serde(rename = "urn:spillway:problem:conflict")]
    Conflict,
    /// The store is served but cannot be written, such as a directory that is mounted read-only.
    #[serde(rename = "urn:spillway:problem:read-only")]
    ReadOnly,
    /// The body is larger than what is read.
    #[serde(rename = "urn:spillway:problem:too-large")]
    TooLarge,
    /// The body is of another media type than those that there are.
    #[serde(rename = "urn:spillway:problem:unsupported-media-type")]
    UnsupportedMediaType,
    /// More event streams than are served at once.
    #[serde(rename = "urn:spillway:problem:too-many")]
    TooMany,
    /// Trouble on the server, such as a full disk. Nothing was changed.
    #[serde(rename = "urn:spillway:problem:internal")]
    Internal,
    /// The documents have not been loaded yet.
    #[serde(rename = "urn:spillway:problem:not-ready")]
    NotReady,
}

impl ProblemKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::InvalidDocuments,
        Self::InvalidRequest,
        Self::Unauthorized,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::Conflict,
        Self::ReadOnly,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::TooMany,
        Self::Internal,
        Self::NotReady,
    ];

    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidDocuments => 422,
            Self::InvalidRequest => 400,
            Self::Unauthorized => 401,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::Conflict => 412,
            Self::ReadOnly => 403,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::TooMany => 429,
            Self::Internal => 500,
            Self::NotReady => 503,
        }
    }

    /// What people read.
    pub const fn title(self) -> &'static str {
        match self {
            Self::InvalidDocuments => "the documents have errors",
            Self::InvalidRequest => "the request is not understood",
            Self::Unauthorized => "a valid token is required",
            Self::NotFound => "there is no such thing",
            Self::MethodNotAllowed => "this cannot be done here",
            Self::NotAcceptable => "no form that the client accepts",
            Self::Conflict => "somebody else has changed it",
            Self::ReadOnly => "the documents cannot be changed here",
            Self::TooLarge => "the request is too large",
            Self::UnsupportedMediaType => "the body is in another form than expected",
            Self::TooMany => "too many at a time",
            Self::Internal => "the server could not do it",
            Self::NotReady => "the server has nothing to serve yet",
        }
    }
}

impl Problem {
    /// A problem without particulars.
    pub fn new(kind: ProblemKind) -> Self {
        Self {
            kind,
            title: kind.title().to_owned(),
            status: kind.status(),
            detail: None,
            errors: Vec::new(),
            revision: None,
            instance: None,
        }
    }

    /// With what was wrong in this case.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl From<&Diagnostic> for DocumentError {
    fn from(diagnostic: &Diagnostic) -> Self {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            file: diagnostic.file.display().to_string(),
            line: diagnostic.place.map(|place| place.line),
            column: diagnostic.place.map(|place| place.column),
            document: given(&diagnostic.document),
            field: given(&diagnostic.field),
            message: diagnostic.message.clone(),
            suggestion: diagnostic.help.clone(),
            rendered: diagnostic.to_string(),
        }
    }
}
