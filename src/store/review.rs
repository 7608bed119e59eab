//! Something held for a person.

use sqlx::any::AnyRow;
use sqlx::{FromRow, Row};

use super::UserId;

/// What is known of something held.
#[derive(Clone, PartialEq, Eq)]
pub struct Review {
    /// Names it. Ids rise with time.
    pub id: String,
    /// Who asked.
    pub owner: String,
    /// Whose profile was used.
    pub user: Option<String>,
    /// `x-request-id`
    pub request: String,
    /// `input` or `output`
    pub side: String,
    /// The checks that held it, separated by commas.
    pub checks: String,
    /// The messages, as JSON.
    pub prompt: String,
    /// The answer; `None` when the prompt was held.
    pub answer: Option<String>,
    /// What a person decided.
    pub status: Status,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub decided_at: Option<i64>,
    /// Id of the key that decided.
    pub decided_by: Option<String>,
}

/// What becomes of something held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nobody decided yet.
    Pending,
    /// It may pass.
    Approved,
    /// It may not.
    Rejected,
}

/// What is to be held.
pub struct NewReview {
    /// See [`Review::owner`].
    pub owner: String,
    /// See [`Review::user`].
    pub user: Option<UserId>,
    /// See [`Review::request`].
    pub request: String,
    /// See [`Review::checks`].
    pub checks: String,
    /// See [`Review::prompt`].
    pub prompt: String,
    /// What was held.
    pub what: Held,
}

/// What was held.
pub enum Held {
    /// A prompt. The same fingerprint of the same owner is held once.
    Input {
        /// Of the prompt.
        fingerprint: String,
    },
    /// This answer.
    Output(String),
}

/// A decision on something held.
pub enum Decided {
    /// It is as it says now.
    Now(Review),
    /// Somebody had decided otherwise.
    Otherwise(Review),
}

impl Status {
    const ALL: [Self; 3] = [Self::Pending, Self::Approved, Self::Rejected];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }

    /// What has this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

impl std::fmt::Debug for Review {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Review").field("id", &self.id).field("status", &self.status).finish_non_exhaustive()
    }
}

impl FromRow<'_, AnyRow> for Review {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let status: String = row.try_get("status")?;
        let answer: Option<String> = row.try_get("answer")?;
        Ok(Self {
            id: row.try_get("id")?,
            owner: row.try_get("owner")?,
            user: row.try_get("user_id")?,
            request: row.try_get("request")?,
            side: row.try_get("side")?,
            checks: row.try_get("checks")?,
            prompt: row.try_get("prompt")?,
            answer: answer
                .map(|json| serde_json::from_str(&json))
                .transpose()
                .map_err(|e| sqlx::Error::Decode(e.into()))?,
            status: Status::named(&status).ok_or_else(|| sqlx::Error::Decode("an unknown status".into()))?,
            created_at: row.try_get("created_at")?,
            decided_at: row.try_get("decided_at")?,
            decided_by: row.try_get("decided_by")?,
        })
    }
}
