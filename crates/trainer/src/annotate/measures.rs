//! The annotator that compares one measure.

use serde::{Deserialize, Serialize};

use super::{Annotator, Choice, Comparison};
use crate::error::TrainError;
use crate::reward::{Answer, Gate, GateOptions, Measure, Text};

/// A content gate under which an answer is no answer: it loses to one that is.
const DECENT: f64 = 0.05;

/// A measure, which way is better, and by how much.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Measures {
    /// What is measured.
    pub measure: Measure,
    /// Whether more of it is better.
    pub higher: bool,
    /// A difference, in the measure's unit, up to which neither answer is preferred.
    pub margin: f64,
}

impl Annotator for Measures {
    fn compare(&mut self, comparison: Comparison<'_>) -> Result<Choice, TrainError> {
        let Self { measure, higher, margin } = *self;
        let prompt = comparison.question();
        let is_decent = |text| {
            let answer = Answer { prompt, text, ended: false, base_nll: 0.0 };
            Gate::of(answer, &Text::new(text), &[], &GateOptions::default()).value() >= DECENT
        };
        let [first, second] = comparison.answers;
        let apart = (measure.of(first) - measure.of(second)) * if higher { 1.0 } else { -1.0 };
        Ok(match (is_decent(first), is_decent(second)) {
            (true, false) => Choice::First,
            (false, true) => Choice::Second,
            (false, false) => Choice::Tie,
            (true, true) if apart.abs() <= margin => Choice::Tie,
            (true, true) if apart > 0.0 => Choice::First,
            (true, true) => Choice::Second,
        })
    }
}
