//! The record of what a person decided.

use std::sync::Arc;

use super::writer::Place;
use super::{Audit, Event, ReviewRecord};
use crate::problem::ApiError;
use crate::store::Review;

/// Room for the record of a decision. Dropped, it leaves none.
pub struct Deciding {
    audit: Arc<Audit>,
    place: Place,
}

impl Deciding {
    /// Takes room for a record.
    ///
    /// # Errors
    /// 503 when the log cannot be written.
    pub fn begin(audit: &Arc<Audit>) -> Result<Self, ApiError> {
        Ok(Self { audit: audit.clone(), place: audit.place()? })
    }

    /// The holder of `key` decided as `review` says.
    ///
    /// # Errors
    /// 503 when it could not be written and the configuration says that answers wait for it.
    pub async fn end(self, review: &Review, key: Option<&str>) -> Result<(), ApiError> {
        let keys = self.audit.keys();
        let record = ReviewRecord {
            review: review.id.clone(),
            request: review.request.clone(),
            side: review.side.clone(),
            checks: review.checks.split(',').map(str::to_owned).collect(),
            decision: review.status.name().to_owned(),
            key: key.map(str::to_owned),
            prompt_fingerprint: keys.fingerprint(review.prompt.as_bytes()),
            text_fingerprint: review.answer.as_ref().map(|answer| keys.fingerprint(answer.as_bytes())),
        };
        let Some(written) = self.audit.leave(self.place, Event::Review(record)) else { return Ok(()) };
        match written.await {
            Ok(true) => Ok(()),
            _ => Err(ApiError::busy("audit_unavailable", "the decision could not be recorded: send it again", 1)),
        }
    }
}
