//! The annotator that measures.

use super::{Annotator, Choice, Comparison};
use crate::error::TrainError;
use crate::reward::{Answer, RuleReward};

/// A rule reward: the answer that scores higher is preferred.
pub struct Rules {
    /// The rule with its gate.
    pub reward: RuleReward,
    /// A difference of scores (0 to 1) up to which neither is preferred.
    pub margin: f64,
}

impl Annotator for Rules {
    /// The gate's part for fluency is open here: it needs the base, and all other parts need only the text.
    fn compare(&mut self, comparison: Comparison<'_>) -> Result<Choice, TrainError> {
        let prompt = comparison.question();
        let score = |text| self.reward.score(Answer { prompt, text, ended: true, base_nll: 0.0 }).score;
        let [first, second] = comparison.answers.map(score);
        Ok(if (first - second).abs() <= self.margin {
            Choice::Tie
        } else if first > second {
            Choice::First
        } else {
            Choice::Second
        })
    }
}
