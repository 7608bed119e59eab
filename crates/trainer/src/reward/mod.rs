//! Rule rewards: how strongly an answer shows a preference, times how much of an answer it still is.
//!
//! A rule alone is hacked within forty steps, so the measure of the preference (0 to 1) is multiplied by a gate (0 to 1)
//! that broken, empty, repeated, off-topic or improbable text cannot pass: text that wins must show the preference *and*
//! answer the prompt.

mod banter;
mod frequency;
mod friendly;
mod gate;
mod grade;
mod length;
mod lexicon;
mod measure;
mod politeness;
mod rule;
mod sum;
mod syllables;
mod text;
mod unfriendly;

pub use banter::{sarcasm, sassiness};
pub use friendly::friendliness;
pub use gate::{Gate, GateOptions};
pub use grade::flesch_kincaid_grade;
pub use measure::{Measure, MeasureOptions};
pub use rule::Rule;
pub use sum::{Part, PartOptions, RewardSum};
pub use syllables::syllables;
pub use text::Text;
pub use unfriendly::unfriendliness;

use candle_core::Result;

use crate::model::Base;

/// An answer as the rewards see it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// What was asked.
    pub prompt: &'a str,
    /// What was answered, special tokens left out.
    pub text: &'a str,
    /// Whether the policy ended the answer itself.
    pub ended: bool,
    /// Mean negative log-likelihood per token under the base, in nats.
    pub base_nll: f64,
}

/// What a rule says of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// `preference . gate`, 0 to 1: what PPO maximises.
    pub score: f64,
    /// The preference alone, in the unit of [`Rule::measure_name`].
    pub measure: f64,
    /// The gate alone, 0 to 1.
    pub gate: f64,
}

/// An answer with its tokens.
#[derive(Clone, Copy, Debug)]
pub struct Scoring<'a> {
    /// The answer as text.
    pub answer: Answer<'a>,
    /// The tokens of the prompt's chat.
    pub prompt: &'a [u32],
    /// The tokens of the answer, with the one that ended it.
    pub response: &'a [u32],
    /// The preferences that were asked for, where a run has several.
    pub active: &'a [usize],
}

/// What scores answers. A run takes the parts of its configuration; tests and other rewards bring their own.
pub trait Reward {
    /// Scores the answers of a step.
    ///
    /// # Errors
    /// What a reward that runs the base may fail with.
    fn score_all(&self, base: &Base, rows: &[Scoring<'_>]) -> Result<Vec<Scored>>;
}

/// A rule with its gate.
#[derive(Clone, Debug)]
pub struct RuleReward {
    /// The preference.
    pub rule: Rule,
    /// The preference is raised to this power.
    pub power: f64,
    /// Where the gate opens and closes.
    pub gate: GateOptions,
}

impl RuleReward {
    /// Scores one answer: `preference ^ power . gate`, 0 to 1.
    pub fn score(&self, answer: Answer<'_>) -> Scored {
        let (preference, scored) = self.rule.weigh(answer, &self.gate);
        Scored { score: preference.powf(self.power) * scored.gate, ..scored }
    }
}

impl Reward for RuleReward {
    fn score_all(&self, _base: &Base, rows: &[Scoring<'_>]) -> Result<Vec<Scored>> {
        Ok(rows.iter().map(|row| self.score(row.answer)).collect())
    }
}
