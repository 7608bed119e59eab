//! The id that ties an answer, its log lines and its errors together.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// `x-request-id`
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST: usize = 64;

/// The id of one request: the client's when it is harmless, else a new one.
#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Takes the client's id, or makes one. An id is written to logs and headers, so only letters, digits and `-_.`
    /// are taken over, at most 64 of them.
    pub fn choose(headers: &HeaderMap) -> Self {
        let harmless = |id: &&str| {
            !id.is_empty()
                && id.len() <= LONGEST
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        match headers.get(HEADER).and_then(|v| v.to_str().ok()).filter(harmless) {
            Some(id) => Self(id.into()),
            None => Self(uuid::Uuid::now_v7().to_string().into()),
        }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as a header value.
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("an id holds only letters, digits and -_.")
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Always set by the middleware; a handler called without it gets an id of its own.
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self::choose(&parts.headers)))
    }
}
