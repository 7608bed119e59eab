//! Learning what users prefer: their choices in, changed profiles out.

mod answers;
mod lesson;
mod question;

pub use answers::{Found, KEPT, Keeping, Recent, Said};
pub use lesson::{Judged, Lesson, judge};
pub use question::{Question, Wanted, candidates, gains, next_question};

use tureen_soup::Pool;
use tureen_soup::learn::{Learning, Taste};

use crate::store::Draft;

/// Policies that one taste is kept over: its covariance grows with the square.
const POLICIES: usize = 64;

/// What is known of the user of `draft`, over `policies`. Somebody without choices begins at their preference, or
/// anywhere alike.
pub fn taste(draft: Option<&Draft>, policies: &[String], learning: &Learning) -> Taste {
    if let Some(taste) = draft.and_then(|draft| draft.learned.as_ref()) {
        return taste.over(policies.to_vec(), learning);
    }
    let wished = |name: &String| {
        let found = draft.and_then(|draft| draft.preference.iter().find(|(known, _)| known == name));
        found.map_or(0.0, |(_, weight)| weight)
    };
    let largest = policies.iter().map(wished).fold(0.0, f64::max);
    // Finite weights may have an infinite sum.
    let mut weights: Vec<f64> =
        policies.iter().map(|name| if largest > 0.0 { wished(name) / largest } else { 1.0 }).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    Taste::new(policies.to_vec(), &weights, learning)
}

/// Names of the policies of `pool`, unless they are too few or too many to learn about.
pub fn names(pool: &Pool) -> Option<Vec<String>> {
    let count = pool.policies().len();
    (2..=POLICIES).contains(&count).then(|| pool.policies().iter().map(|policy| policy.id().to_string()).collect())
}
