//! `If-Match` and `If-None-Match` (RFC 9110, section 13).

use axum::http::{HeaderMap, StatusCode};
use headers::{ETag, Header, HeaderMapExt, IfMatch, IfNoneMatch};

use crate::problem::ApiError;
use crate::store::Profile;

/// What a client says about the profile as it knows it.
pub struct Preconditions {
    if_match: Option<IfMatch>,
    if_none_match: Option<IfNoneMatch>,
}

impl Preconditions {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self { if_match: read(headers)?, if_none_match: read(headers)? })
    }

    /// Whether a change may go on from `current`.
    ///
    /// # Errors
    /// 412 when it is not what the client knows.
    pub fn check(&self, current: Option<&Profile>) -> Result<(), ApiError> {
        let tag = current.map(etag);
        let same =
            self.if_match.as_ref().is_none_or(|wanted| tag.as_ref().is_some_and(|t| wanted.precondition_passes(t)));
        let new = match (&self.if_none_match, &tag) {
            (Some(unwanted), Some(tag)) => unwanted.precondition_passes(tag),
            _ => true,
        };
        if same && new {
            return Ok(());
        }
        let detail = "the profile is not the one you know: get it again, with its ETag";
        Err(ApiError::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail))
    }

    /// Whether the client has this profile already.
    pub fn has(&self, profile: &Profile) -> bool {
        self.if_none_match.as_ref().is_some_and(|known| !known.precondition_passes(&etag(profile)))
    }
}

fn read<H: Header>(headers: &HeaderMap) -> Result<Option<H>, ApiError> {
    headers.typed_try_get().map_err(|_| {
        let detail = format!("the header {} cannot be read", H::name());
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_header", detail)
    })
}

/// The tag of a profile, which changes with every write.
pub fn etag(profile: &Profile) -> ETag {
    format!("\"{}\"", profile.etag).parse().expect("an etag is hex digits")
}
