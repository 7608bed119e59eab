//! A roll-out that is over.

use serde::{Deserialize, Serialize};

use super::{Arm, Count, Running, now};

/// A roll-out that is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ended {
    /// The candidate's revision.
    pub revision: String,
    /// How it ended.
    pub cause: Cause,
    /// Why, where there is more to tell.
    pub detail: Option<String>,
    /// Unix time in seconds.
    pub at: u64,
    /// What the candidate's last generations came to.
    pub outcomes: Count,
}

/// How a roll-out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The candidate is the stable revision now.
    Promoted,
    /// The operator took it back.
    Operator,
    /// It failed too often.
    Errors,
}

impl Cause {
    /// Its name, on the wire and as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Operator => "operator",
            Self::Errors => "errors",
        }
    }
}

impl Ended {
    pub(super) fn new(running: &Running, cause: Cause, detail: Option<String>) -> Self {
        let revision = running.pool().revision().to_string();
        Self { revision, cause, detail, at: now(), outcomes: running.outcomes.count(Arm::Candidate) }
    }
}
