//! What one generation tells of its revision.

use std::sync::Arc;
use std::time::Duration;

use super::{Arm, Outcomes, Rollout, Running};
use crate::guard::Decision;
use crate::metrics::{End, Metrics};

/// Counts one generation, for the metrics and for the roll-out that was running when it began.
pub struct Watch {
    rollout: Arc<Rollout>,
    outcomes: Option<Arc<Outcomes>>,
    arm: Arm,
    /// Keeps a candidate ready for those whom it serves, and for nobody else.
    _served: Option<Arc<Running>>,
}

impl Watch {
    pub(super) fn new(rollout: &Arc<Rollout>, running: Option<Arc<Running>>, arm: Arm) -> Self {
        let outcomes = running.as_ref().map(|running| running.outcomes.clone());
        Self { rollout: rollout.clone(), outcomes, arm, _served: running.filter(|_| arm == Arm::Candidate) }
    }

    fn metrics(&self) -> &Metrics {
        &self.rollout.metrics
    }

    /// Time from submission to the first token.
    pub fn first_token(&self, took: Duration) {
        self.metrics().first_token(took);
        self.metrics().revision_first_token(self.arm, took);
    }

    /// Time between two tokens.
    pub fn inter_token(&self, took: Duration) {
        self.metrics().inter_token(took);
    }

    /// Checks decided about its text.
    pub fn guarded(&self, decisions: &[Decision]) {
        self.metrics().guarded(decisions);
    }

    /// Tokens of a finished generation.
    pub fn tokens(&self, prompt: usize, generated: usize) {
        self.metrics().tokens(prompt, generated);
        self.metrics().revision_tokens(self.arm, generated);
    }

    /// It is over. `fault` is whether an error that ended it may be its revision's.
    pub fn ended(&self, end: End, fault: bool, took: Duration) {
        self.metrics().ended(end, took);
        self.metrics().revision_ended(self.arm, end, took);
        match end {
            // What checks of a text find is no fault of who wrote it.
            End::Length | End::Stop | End::ContentFilter | End::Held => self.outcome(false),
            End::Error if fault => self.outcome(true),
            End::Error | End::Abort => {}
        }
    }

    /// It cannot be had of the candidate, although the stable revision would give it.
    pub fn refused(&self) {
        self.outcome(true);
    }

    /// It ended well, or failed.
    pub(super) fn outcome(&self, failed: bool) {
        if let Some(outcomes) = &self.outcomes {
            self.rollout.record(outcomes, self.arm, failed);
        }
    }
}

/// Whether an error with this code may be the fault of the revision that served.
pub fn is_fault(code: &str) -> bool {
    const OF_OTHERS: [&str; 5] =
        ["shutting_down", "audit_unavailable", "guard_unavailable", "store_unavailable", "reviews_full"];
    !OF_OTHERS.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::is_fault;

    #[test]
    fn a_check_that_cannot_be_made_takes_no_revision_back() {
        assert!(is_fault("internal") && is_fault("timeout"));
        assert!(!is_fault("guard_unavailable") && !is_fault("reviews_full") && !is_fault("shutting_down"));
    }
}
