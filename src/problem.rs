//! Errors on the wire: RFC 9457 problem details with a stable `code`, or OpenAI's shape under `/v1`.
//!
//! A handler only says what went wrong. [`ApiError`] travels in the response's extensions, and one middleware writes
//! it in the shape of the route, so that no route can answer in the wrong one.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::startup::PoolFailure;
use crate::store::StoreError;

/// One refused or failed request.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable, machine-readable cause in snake_case.
    pub code: &'static str,
    /// What happened and what to do, for a person.
    pub detail: String,
    /// The JSON path of the field at fault.
    pub field: Option<Box<str>>,
    /// Seconds after which trying again makes sense.
    pub retry_after_s: Option<u64>,
    /// Every single problem, where there may be many (a refused pool).
    pub problems: Vec<String>,
    /// What a person has to decide first.
    pub review: Option<Box<str>>,
}

/// Which body a client of this route expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `application/problem+json`
    Problem,
    /// `{"error":{...}}`
    OpenAi,
}

impl Shape {
    /// The shape of errors below `path`.
    pub fn of(path: &str) -> Self {
        if path.starts_with("/v1/") { Self::OpenAi } else { Self::Problem }
    }
}

impl ApiError {
    /// An error of this status and code.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            field: None,
            retry_after_s: None,
            problems: Vec::new(),
            review: None,
        }
    }

    /// 422: understood, but not possible.
    pub fn invalid(code: &'static str, field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail).at(field)
    }

    /// 422 for something this version does not do.
    pub fn not_supported(field: &str, detail: impl Into<String>) -> Self {
        Self::invalid("not_supported", field, detail)
    }

    /// 503 with Retry-After: our capacity, not the client's fault.
    pub fn busy(code: &'static str, detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail) }
    }

    /// 503: the process is about to leave; another instance will answer.
    pub fn shutting_down() -> Self {
        Self::busy("shutting_down", "the server is shutting down; send the request again", 1)
    }

    /// Names the field at fault.
    pub fn at(mut self, field: &str) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The general error for a status that a library answered without a body.
    pub fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not_found", "there is nothing here; /docs lists the routes"),
            StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "this route has other methods; see Allow"),
            StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the request body is over limits.max_body_bytes"),
            status if status.is_client_error() => ("bad_request", "the request cannot be answered"),
            _ => ("internal", "the server failed; the log has this request's id"),
        };
        Self::new(status, code, detail)
    }

    /// The body in `shape`.
    pub fn body(&self, shape: Shape, request_id: &str) -> Value {
        match shape {
            Shape::Problem => self.problem(request_id),
            Shape::OpenAi => self.openai(),
        }
    }

    fn problem(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": format!("urn:tureen:error:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
        });
        if let Some(field) = &self.field {
            body["field"] = json!(field);
        }
        if !self.problems.is_empty() {
            body["problems"] = json!(self.problems);
        }
        if let Some(review) = &self.review {
            body["review_id"] = json!(review);
        }
        body
    }

    fn openai(&self) -> Value {
        let kind = match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::UNAUTHORIZED => "authentication_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
        };
        let mut error = json!({"message": self.detail, "type": kind, "param": self.field, "code": self.code});
        if let Some(review) = &self.review {
            error["review_id"] = json!(review);
        }
        json!({"error": error})
    }

    /// The whole answer in `shape`.
    pub fn render(&self, shape: Shape, request_id: &str) -> Response {
        let kind = match shape {
            Shape::Problem => "application/problem+json",
            Shape::OpenAi => "application/json",
        };
        let mut response = (self.status, self.body(shape, request_id).to_string()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<PoolFailure> for ApiError {
    fn from(PoolFailure { problems }: PoolFailure) -> Self {
        let detail = "the pool was refused and the old revision stays";
        Self { problems, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "pool_refused", detail) }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::ClientKeyReused => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", error.to_string())
            }
            StoreError::Full => Self::busy("reviews_full", error.to_string(), 60),
            StoreError::Contended => Self::busy("store_contended", error.to_string(), 1),
            StoreError::Unavailable(_) | StoreError::Late => {
                tracing::warn!(%error, "the store did not answer");
                Self::busy(
                    "store_unavailable",
                    "profiles cannot be reached now; a preference in the request can be served",
                    1,
                )
            }
            other => {
                tracing::error!(error = %other, "the store failed");
                Self::of_status(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

impl IntoResponse for ApiError {
    /// An empty answer that carries the error; [`crate::middleware`] writes the body.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
