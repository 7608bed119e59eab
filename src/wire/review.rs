//! What was held for a person, and what they decide.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::config::Limits;
use crate::extract::Validate;
use crate::problem::ApiError;
use crate::store::{Review, Status};

/// Where to ask what a person decided.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReviewLink {
    /// Of the review: `GET /reviews/{id}` tells what was decided.
    pub id: String,
    /// `pending`
    #[schema(value_type = String, example = "pending")]
    pub status: &'static str,
}

impl ReviewLink {
    /// Of a review that just began.
    pub fn new(id: String) -> Self {
        Self { id, status: Status::Pending.name() }
    }
}

/// A review, as whoever asked sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReviewState {
    /// Of the review.
    pub id: String,
    /// `x-request-id` of what was held.
    pub request_id: String,
    /// `input` when the prompt was held, `output` when the answer was.
    pub side: String,
    /// `pending`, `approved` or `rejected`.
    #[schema(value_type = String, example = "approved")]
    pub status: &'static str,
    /// The answer, when it was held and is approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_text: Option<String>,
    /// Unix time, in milliseconds.
    pub created_at_ms: i64,
    /// Unix time of the decision, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at_ms: Option<i64>,
}

impl From<Review> for ReviewState {
    fn from(review: Review) -> Self {
        let Review { id, request, side, answer, status, created_at, decided_at, .. } = review;
        Self {
            id,
            request_id: request,
            side,
            status: status.name(),
            generated_text: answer.filter(|_| status == Status::Approved),
            created_at_ms: created_at,
            decided_at_ms: decided_at,
        }
    }
}

/// A review, as whoever decides sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReviewView {
    /// Of the review.
    pub id: String,
    /// `x-request-id` of what was held.
    pub request_id: String,
    /// The user whose profile was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `input` when the prompt was held, `output` when the answer was.
    pub side: String,
    /// The checks that held it.
    pub checks: Vec<String>,
    /// The conversation, as checks left it.
    #[schema(value_type = Vec<super::generate::ChatMessage>)]
    pub messages: Value,
    /// The answer that is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_text: Option<String>,
    /// `pending`, `approved` or `rejected`.
    #[schema(value_type = String, example = "pending")]
    pub status: &'static str,
    /// Unix time, in milliseconds.
    pub created_at_ms: i64,
    /// Unix time of the decision, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at_ms: Option<i64>,
    /// Id of the key that decided; absent also when none was needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

impl From<Review> for ReviewView {
    fn from(review: Review) -> Self {
        // The owner is the caller's own.
        let Review {
            id,
            owner: _,
            user,
            request,
            side,
            checks,
            prompt,
            answer,
            status,
            created_at,
            decided_at,
            decided_by,
        } = review;
        Self {
            id,
            request_id: request,
            user,
            side,
            checks: checks.split(',').map(str::to_owned).collect(),
            messages: serde_json::from_str(&prompt).unwrap_or(Value::Null),
            generated_text: answer,
            status: status.name(),
            created_at_ms: created_at,
            decided_at_ms: decided_at,
            decided_by,
        }
    }
}

/// One page of reviews.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReviewPage {
    /// The oldest first.
    pub reviews: Vec<ReviewView>,
    /// Send it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What a person decides.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"decision": "approve"}))]
pub struct DecisionRequest {
    /// What becomes of it.
    pub decision: Verdict,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may pass.
    Approve,
    /// It may not.
    Reject,
}

impl Validate for DecisionRequest {
    type Valid = Status;

    fn validate(self, _: &Limits) -> Result<Status, ApiError> {
        Ok(match self.decision {
            Verdict::Approve => Status::Approved,
            Verdict::Reject => Status::Rejected,
        })
    }
}
