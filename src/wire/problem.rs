//! The document's picture of errors; [`crate::problem`] writes them.

use serde::Serialize;
use utoipa::ToSchema;

/// RFC 9457 problem details.
#[derive(Serialize, ToSchema)]
pub struct Problem {
    /// `urn:tureen:error:CODE`
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable cause, for programs.
    #[schema(example = "unknown_policy")]
    pub code: String,
    /// What happened and what to do, for people.
    pub detail: String,
    /// The request, as in `x-request-id`.
    pub request_id: String,
    /// JSON path of the field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Every single problem, where there may be many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<String>>,
    /// What a person has to decide first; see `GET /reviews/{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review_id: Option<String>,
}

/// An error in OpenAI's shape.
#[derive(Serialize, ToSchema)]
pub struct OpenAiError {
    /// The error.
    pub error: OpenAiErrorBody,
}

/// The inside of [`OpenAiError`].
#[derive(Serialize, ToSchema)]
pub struct OpenAiErrorBody {
    /// What happened and what to do.
    pub message: String,
    /// `invalid_request_error`, `authentication_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The field at fault.
    pub param: Option<String>,
    /// Stable cause, for programs.
    pub code: String,
    /// What a person has to decide first; see `GET /reviews/{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review_id: Option<String>,
}
