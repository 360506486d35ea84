//! What requests carry: paths, queries and bodies, read strictly.

use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::reply::YAML;
use crate::api::AUTHOR;
use crate::api::problem::{Problem, ProblemKind};
use crate::document::kind::Kind;

/// The largest body, in bytes: some 50,000 documents.
const MAX_BODY: usize = 32 << 20;

/// What is read of a larger one.
const MAX_READ: usize = 4 * MAX_BODY;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest message, in characters. The history keeps all of them.
const MAX_MESSAGE: usize = 10_000;

/// Longer names of people are cut.
const MAX_AUTHOR: usize = 100;

/// A query, of which every parameter is known.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query.map(|axum::extract::Query(query)| Self(query)).map_err(|rejection: QueryRejection| {
            Problem::new(ProblemKind::InvalidRequest).detail(rejection.body_text())
        })
    }
}

/// The variable parts of a path.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path)).map_err(|rejection: PathRejection| {
            Problem::new(ProblemKind::NotFound).detail(rejection.body_text())
        })
    }
}

/// Who asks, as far as it was found out who that is.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller(pub(super) Option<String>);

/// Who a change is by.
pub(super) struct Author(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Author {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // What a token or a certificate says is sure; the header is only what the client says.
        let known = parts.extensions.get::<Caller>().and_then(|Caller(name)| name.clone());
        let told = parts.headers.get(HeaderName::from_static(AUTHOR)).and_then(|value| value.to_str().ok());
        let author = known.or_else(|| told.map(|name| name.trim().chars().take(MAX_AUTHOR).collect()));
        Ok(Self(author.filter(|name| !name.is_empty()).unwrap_or_else(|| "anonymous".to_owned())))
    }
}

/// The forms of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Yaml,
}

/// The form that a body says it has.
pub(super) fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    // A browser sends neither of them to a foreign server without asking first.
    if media_type.eq_ignore_ascii_case("application/json") {
        Ok(Form::Json)
    } else if [YAML, "application/x-yaml"].iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        Ok(Form::Yaml)
    } else {
        let problem = Problem::new(ProblemKind::UnsupportedMediaType);
        Err(problem.detail(format!("Content-Type {value:?}: expected application/json or {YAML}")))
    }
}

/// Reads a whole body.
pub(super) async fn bytes(body: Body) -> Result<Bytes, Problem> {
    tokio::time::timeout(BODY_TIMEOUT, read(body)).await.unwrap_or_else(|_| {
        let problem = Problem::new(ProblemKind::InvalidRequest);
        Err(problem.detail(format!("the body did not arrive within {BODY_TIMEOUT:?}")))
    })
}

async fn read(mut body: Body) -> Result<Bytes, Problem> {
    let (mut kept, mut size) = (BytesMut::new(), 0);
    // What is too much is read on and forgotten: an answer to a client that is still sending would be lost with the connection.
    while size <= MAX_READ
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| {
            Problem::new(ProblemKind::InvalidRequest).detail(format!("the body broke off: {error}"))
        })?;
        let data = frame.into_data().unwrap_or_default();
        size += data.len();
        if size <= MAX_BODY {
            kept.extend_from_slice(&data);
        } else {
            kept = BytesMut::new();
        }
    }
    if size > MAX_BODY {
        let problem = Problem::new(ProblemKind::TooLarge);
        return Err(problem.detail(format!("at most {} MiB are taken", MAX_BODY >> 20)));
    }
    Ok(kept.freeze())
}

/// Reads a body of JSON.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    if form(headers)? != Form::Json {
        let problem = Problem::new(ProblemKind::UnsupportedMediaType);
        return Err(problem.detail("expected application/json"));
    }
    let bytes = bytes(body).await?;
    parse(&bytes)
}

/// Reads JSON.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::new(ProblemKind::InvalidRequest).detail(format!("the body: {error}")))
}

/// Which of two forms the client would rather have; JSON where it does not say.
pub(super) fn accepted(headers: &HeaderMap) -> Result<Form, Problem> {
    let mut best: Option<(u32, Form)> = None;
    let mut is_given = false;
    for value in headers.get_all(ACCEPT) {
        is_given = true;
        for part in value.to_str().unwrap_or_default().split(',') {
            let mut parameters = part.split(';').map(str::trim);
            let form = match parameters.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "*/*" | "application/*" | "application/json" => Form::Json,
                "application/yaml" | "application/x-yaml" => Form::Yaml,
                _ => continue,
            };
            let quality = parameters.find_map(|parameter| parameter.strip_prefix("q="));
            // In thousandths, which is as fine as it gets.
            let quality = quality.and_then(|text| text.parse::<f32>().ok()).unwrap_or(1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to 0 to 1000"
            )]
            let quality = (quality.clamp(0.0, 1.0) * 1000.0) as u32;
            if quality > best.map_or(0, |(best, _)| best) {
                best = Some((quality, form));
            }
        }
    }
    match best {
        Some((_, form)) => Ok(form),
        None if !is_given => Ok(Form::Json),
        None => {
            let problem = Problem::new(ProblemKind::NotAcceptable);
            Err(problem.detail(format!("there are application/json and {YAML}")))
        }
    }
}

/// Why a change is made, if it is short enough.
pub(super) fn message(text: String) -> Result<String, Problem> {
    if text.chars().count() > MAX_MESSAGE {
        let problem = Problem::new(ProblemKind::InvalidRequest);
        return Err(problem.detail(format!("message: at most {MAX_MESSAGE} characters")));
    }
    Ok(text)
}

/// The kind of that name.
pub(super) fn kind(name: &str) -> Result<Kind, Problem> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let kinds = Kind::ALL.map(Kind::name).join(", ");
        Problem::new(ProblemKind::NotFound)
            .detail(format!("{name:?} is no kind of document: there are {kinds}"))
    })
}
