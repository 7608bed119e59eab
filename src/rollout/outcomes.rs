//! How generations of the two revisions ended, the last ones of each.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::Arm;
use crate::config;

/// The last outcomes of both revisions since a roll-out began.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<[Window; 2]>);

/// Outcomes of one revision.
#[derive(Debug, Default)]
struct Window {
    /// Whether it failed, the oldest first.
    failed: VecDeque<bool>,
    errors: usize,
}

/// What a window holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// Generations that ended by themselves.
    pub requests: usize,
    /// Those of them that failed.
    pub errors: usize,
}

impl Count {
    /// Share of errors, 0 to 1; 0 without requests.
    pub fn error_rate(&self) -> f64 {
        self.errors as f64 / self.requests.max(1) as f64
    }
}

impl Window {
    fn push(&mut self, failed: bool, most: usize) {
        self.failed.push_back(failed);
        self.errors += usize::from(failed);
        while self.failed.len() > most {
            self.errors -= usize::from(self.failed.pop_front() == Some(true));
        }
    }

    fn count(&self) -> Count {
        Count { requests: self.failed.len(), errors: self.errors }
    }
}

impl Outcomes {
    /// What is known of `arm`.
    pub fn count(&self, arm: Arm) -> Count {
        self.lock()[arm as usize].count()
    }

    /// Takes one more outcome, and tells why the candidate is to be rolled back, if it is.
    pub fn push(&self, arm: Arm, failed: bool, bounds: &config::Rollout) -> Option<String> {
        let mut windows = self.lock();
        windows[arm as usize].push(failed, bounds.window);
        let [stable, candidate] = [Arm::Stable, Arm::Candidate].map(|arm| windows[arm as usize].count());
        if arm == Arm::Stable || candidate.requests < bounds.min_requests {
            return None;
        }
        let Count { requests, errors } = candidate;
        let (rate, usual) = (candidate.error_rate(), stable.error_rate());
        if rate > bounds.max_error_rate {
            return Some(format!(
                "{errors} of {requests} generations failed: over rollout.max_error_rate = {}",
                bounds.max_error_rate
            ));
        }
        (rate > usual + bounds.max_error_rise).then(|| {
            format!(
                "{errors} of {requests} generations failed, {} of {} on the stable revision: further apart than \
                 rollout.max_error_rise = {}",
                stable.errors, stable.requests, bounds.max_error_rise
            )
        })
    }

    fn lock(&self) -> MutexGuard<'_, [Window; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
