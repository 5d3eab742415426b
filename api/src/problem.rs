//! Problems (RFC 9457): the one error of every handler.
//!
//! A problem says what the caller can do about it. Its cause, if there is one, is logged where the
//! problem becomes an answer, once, and never shown.

use std::error::Error;
use std::fmt;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use castback_broker::{AppendError, ReadError};
use castback_catalogue::CatalogueError;
use castback_catalogue::registry::RegistryError;
use castback_connectors::http::FetchError;
use castback_store::StoreError;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The result of a handler.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// Seconds after which a caller may try again what failed for reasons of ours.
const RETRY_SECONDS: u32 = 2;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal $status:ident $title:literal;)+) => {
        /// What went wrong, as a closed list.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word behind `urn:castback:problem:`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The HTTP status.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            /// The title, the same for every problem of the code.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

codes! {
    /// The body can't be read at all.
    MalformedBody = "malformed_body" BAD_REQUEST "The body can't be read";
    /// No key, or none that is valid.
    Unauthenticated = "unauthenticated" UNAUTHORIZED "No valid key or session";
    /// The subscription's limit.
    LimitReached = "limit_reached" PAYMENT_REQUIRED "A limit of the subscription is reached";
    /// Not for this caller.
    Forbidden = "forbidden" FORBIDDEN "Not allowed";
    /// Not there, or another account's.
    NotFound = "not_found" NOT_FOUND "Not found";
    /// The route has no such method.
    MethodNotAllowed = "method_not_allowed" METHOD_NOT_ALLOWED "No such method here";
    /// Not possible in this state.
    WrongState = "wrong_state" CONFLICT "Not possible in this state";
    /// A name that must be unique is taken, or a request is being done already.
    InUse = "in_use" CONFLICT "In use";
    /// Switched off by the operator.
    Disabled = "disabled" CONFLICT "Switched off";
    /// Changed since the caller read it.
    PreconditionFailed = "precondition_failed" PRECONDITION_FAILED "Changed meanwhile";
    /// More bytes or records than are taken at once.
    TooLarge = "too_large" PAYLOAD_TOO_LARGE "Too large";
    /// A content type or encoding that is not read here.
    UnsupportedMediaType = "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "Not a readable content type";
    /// Fields that don't fit; `errors` names them.
    InvalidFields = "invalid_fields" UNPROCESSABLE_ENTITY "Fields do not fit";
    /// The idempotency key was used for another request.
    IdempotencyMismatch = "idempotency_mismatch" UNPROCESSABLE_ENTITY "The idempotency key belongs to another request";
    /// Too many requests or records.
    RateLimited = "rate_limited" TOO_MANY_REQUESTS "Too many";
    /// Too much is being done already.
    Overloaded = "overloaded" SERVICE_UNAVAILABLE "Overloaded";
    /// The log can't be written.
    LogUnavailable = "log_unavailable" SERVICE_UNAVAILABLE "The log is unavailable";
    /// The disk is full.
    StorageFull = "storage_full" INSUFFICIENT_STORAGE "The storage is full";
    /// A fault of ours.
    Internal = "internal" INTERNAL_SERVER_ERROR "Something failed on our side";
}

impl Code {
    fn retries(self) -> bool {
        matches!(self, Self::RateLimited | Self::Overloaded | Self::LogUnavailable | Self::StorageFull)
    }
}

/// A field that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's path in the body, such as `placements[0].id`.
    pub field: String,
    /// What is expected.
    pub detail: String,
}

/// What is answered instead of a success.
pub struct Problem(Box<Parts>);

struct Parts {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: u32,
    members: Map<String, Value>,
    headers: Vec<(http::HeaderName, HeaderValue)>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem of this code, in words for the caller.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: RETRY_SECONDS,
            members: Map::new(),
            headers: Vec::new(),
            cause: None,
        }))
    }

    /// One field that does not fit.
    pub fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { field: field.into(), detail: detail.into() }])
    }

    /// Fields that do not fit.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let names: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        let mut problem = Self::new(Code::InvalidFields, format!("see errors: {}", names.join(", ")));
        problem.0.errors = errors;
        problem
    }

    /// No such thing, or another account's.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("no such {what}"))
    }

    /// A fault of ours.
    pub fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Code::Internal, "it was logged; try again later").because(cause)
    }

    /// The same problem with its cause, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.0.cause = Some(Box::new(cause));
        self
    }

    /// The same problem with another `Retry-After`, in seconds (at least one).
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = seconds.max(1);
        self
    }

    /// The same problem with a member of its own.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.members.insert(name.to_owned(), value);
        self
    }

    /// The same problem with a header of its own.
    #[must_use]
    pub fn header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The same problem with the field that the reader of a body or query named.
    fn naming(mut self, rejection: &dyn Error) -> Self {
        self.0.errors.extend(rejection.source().and_then(|said| named(&said.to_string())));
        self
    }

    /// The fields that don't fit.
    #[cfg(test)]
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    fn log(&self) {
        let Some(cause) = &self.0.cause else { return };
        let mut text = cause.to_string();
        let mut next = cause.source();
        while let Some(source) = next {
            text.push_str(": ");
            text.push_str(&source.to_string());
            next = source.source();
        }
        if self.0.code.status().is_server_error() {
            tracing::error!(problem.code = self.0.code.as_str(), error = text, "a request failed");
        } else {
            tracing::debug!(problem.code = self.0.code.as_str(), error = text, "a request was refused");
        }
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "type": format!("urn:castback:problem:{}", self.0.code.as_str()),
            "title": self.0.code.title(),
            "status": self.0.code.status().as_u16(),
            "detail": self.0.detail,
        });
        if let Some(object) = body.as_object_mut() {
            if !self.0.errors.is_empty() {
                object.insert("errors".to_owned(), json!(self.0.errors));
            }
            object.extend(self.0.members.clone());
        }
        body
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Problem({}, {:?}, {:?})", self.0.code.as_str(), self.0.detail, self.0.cause)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.title(), self.0.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.log();
        let mut response = (self.0.code.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.0.code.retries() {
            headers.insert(RETRY_AFTER, HeaderValue::from(self.0.retry_after));
        }
        if self.0.code == Code::Unauthenticated {
            headers.insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        headers.extend(self.0.headers);
        response
    }
}

impl From<CatalogueError> for Problem {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::NotFound(what) => Self::not_found(what),
            CatalogueError::InUse(field) => {
                let mut problem = Self::new(Code::InUse, format!("{field} is taken"));
                problem.0.errors.push(FieldError { field: field.to_owned(), detail: "it is taken".to_owned() });
                problem
            }
            CatalogueError::Needed { campaign, .. } => {
                Self::new(Code::InUse, error.to_string()).with("campaign_id", json!(campaign))
            }
            CatalogueError::WrongState { state, ref missing } => {
                let missing = missing.clone();
                Self::new(Code::WrongState, error.to_string())
                    .with("state", json!(state.as_str()))
                    .with("missing", json!(missing))
            }
            CatalogueError::PreconditionFailed { current } => {
                Self::new(Code::PreconditionFailed, format!("the entity tag is now \"{current}\""))
            }
            CatalogueError::LimitReached { limit, used, allowed } => {
                Self::new(Code::LimitReached, format!("{used} of {allowed} are used"))
                    .with("limit", json!(limit))
                    .with("used", json!(used))
                    .with("allowed", json!(allowed))
            }
            CatalogueError::InvalidCursor => Self::field("cursor", "expected the next_cursor of this list"),
            CatalogueError::Overloaded | CatalogueError::Unavailable(_) | CatalogueError::Stale => {
                Self::new(Code::Overloaded, "the catalogue does not keep up").because(error)
            }
            CatalogueError::Password => Self::field("password", "can't be kept").because(error),
            other => Self::internal(other),
        }
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Catalogue(error) => error.into(),
            other => Self::new(Code::Overloaded, "the schema registry gives no answer").because(other),
        }
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let problem = match error {
            AppendError::StorageFull => {
                Self::new(Code::StorageFull, "nothing was kept; try again later").retry_after(30)
            }
            AppendError::Overloaded => Self::new(Code::Overloaded, "too much is waiting for the log").retry_after(1),
            AppendError::Unavailable { .. } | AppendError::Closed => {
                Self::new(Code::LogUnavailable, "send it again: records that are there already are known by their ids")
            }
            AppendError::TooLarge { .. } => Self::new(Code::TooLarge, "a record is larger than the log takes"),
            AppendError::NoSuchSlot { .. } => return Self::internal(error),
        };
        problem.because(error)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        Self::new(Code::LogUnavailable, "the log can't be read").because(error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Catalogue(error) => error.into(),
            StoreError::Full { .. } => Self::new(Code::StorageFull, "no space is left").because(error),
            other if other.retryable() => Self::new(Code::Overloaded, "the store does not answer").because(other),
            other => Self::internal(other),
        }
    }
}

impl From<FetchError> for Problem {
    fn from(error: FetchError) -> Self {
        Self::new(Code::Overloaded, error.to_string()).because(error)
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
            StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
            StatusCode::UNPROCESSABLE_ENTITY => Code::InvalidFields,
            _ => Code::MalformedBody,
        };
        let problem = Self::new(code, rejection.body_text());
        if code == Code::InvalidFields { problem.naming(&rejection) } else { problem }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Code::InvalidFields, rejection.body_text()).naming(&rejection)
    }
}

/// The field in what a reader says: the path before the first colon, and the name of what is missing there; none
/// if it says it of the whole.
fn named(text: &str) -> Option<FieldError> {
    let (path, said) = match text.split_once(": ") {
        Some((path, said)) if !path.contains([' ', '`']) => (path, said),
        _ => ("", text),
    };
    let missing = said.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
    let field = match (path, missing) {
        ("", None) => return None,
        ("", Some((name, _))) => name.to_owned(),
        (path, None) => path.to_owned(),
        (path, Some((name, _))) => format!("{path}.{name}"),
    };
    Some(FieldError { field, detail: said.to_owned() })
}

impl From<PathRejection> for Problem {
    /// An id that is no id names nothing.
    fn from(_: PathRejection) -> Self {
        Self::new(Code::NotFound, "no such thing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_statuses_are_the_contracts() {
        let contract = "malformed_body 400 unauthenticated 401 limit_reached 402 forbidden 403 not_found 404 \
            wrong_state 409 in_use 409 disabled 409 precondition_failed 412 too_large 413 unsupported_media_type 415 \
            invalid_fields 422 idempotency_mismatch 422 rate_limited 429 overloaded 503 log_unavailable 503 \
            storage_full 507";
        let words: Vec<&str> = contract.split_whitespace().collect();
        for pair in words.chunks(2) {
            let code = Code::ALL.iter().find(|code| code.as_str() == pair[0]).unwrap();
            assert_eq!(code.status().as_str(), pair[1], "{}", pair[0]);
        }
    }

    #[test]
    fn a_readers_words_name_the_field() {
        let field = |text: &str| named(text).map(|error| error.field);
        assert_eq!(field("feed_url: invalid type: integer `7`, expected a string").as_deref(), Some("feed_url"));
        assert_eq!(field("placements[0].id: invalid type: null").as_deref(), Some("placements[0].id"));
        assert_eq!(field("missing field `feed_url` at line 1 column 2").as_deref(), Some("feed_url"));
        assert_eq!(field("filter: missing field `topic` at line 1").as_deref(), Some("filter.topic"));
        assert_eq!(field("invalid type: sequence, expected struct Connect"), None);
    }

    #[test]
    fn the_last_four_say_when_to_come_again_and_no_cause_is_shown() {
        for code in Code::ALL {
            let cause = std::io::Error::other("a secret of the database");
            let problem = Problem::new(*code, "words").because(cause);
            assert!(!problem.body().to_string().contains("secret"));
            let response = problem.into_response();
            let last_four = matches!(response.status().as_u16(), 429 | 503 | 507);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), last_four, "{}", code.as_str());
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        }
    }
}
