//! Rule rewards: how strongly an answer shows a preference, times how much of an answer it still is.
//!
//! A rule alone is hacked within forty steps, so the measure of the preference (0 to 1) is multiplied by a gate (0 to 1)
//! that broken, empty, repeated, off-topic or improbable text cannot pass: text that wins must show the preference *and*
//! answer the prompt.

mod friendly;
mod gate;
mod grade;
mod lexicon;
mod measure;
mod sum;
mod syllables;
mod text;

pub use friendly::friendliness;
pub use gate::{Gate, GateOptions};
pub use grade::flesch_kincaid_grade;
use grade::learned_grade;
pub use measure::{Measure, MeasureOptions};
pub use sum::{Part, PartOptions, RewardSum};
pub use syllables::syllables;
pub use text::Text;

use candle_core::Result;
use serde::{Deserialize, Serialize};

use crate::model::Base;

/// The built-in preferences.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Low Flesch-Kincaid grade.
    Elementary,
    /// High Flesch-Kincaid grade, by long words rather than by sentences that never end.
    Expert,
    /// Positive, friendly, turned to the reader.
    Friendly,
}

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
    /// The preference alone, in its own unit: the grade (lower is plainer), or friendliness from 0 to 3.
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

/// The grade at or under which nothing more is to be won, and the grade at which nothing is left.
const GRADES: (f64, f64) = (1.0, 14.0);
/// The grade at which an expert begins to be heard, and the one from which nothing more is to be won.
const LEARNED: (f64, f64) = (8.0, 18.0);

impl Rule {
    /// Scores one answer.
    pub fn score(self, answer: Answer<'_>, options: &GateOptions) -> Scored {
        self.weigh(answer, options).1
    }

    /// The preference from 0 to 1, and the score.
    fn weigh(self, answer: Answer<'_>, options: &GateOptions) -> (f64, Scored) {
        let text = Text::new(answer.text);
        let gate = Gate::of(answer, &text, self == Self::Friendly, options).value();
        let (measure, preference) = match self {
            Self::Elementary => {
                let grade = flesch_kincaid_grade(&text);
                (grade, 1.0 - ((grade - GRADES.0) / (GRADES.1 - GRADES.0)).clamp(0.0, 1.0))
            }
            Self::Expert => {
                let grade = learned_grade(&text);
                (grade, ((grade - LEARNED.0) / (LEARNED.1 - LEARNED.0)).clamp(0.0, 1.0))
            }
            Self::Friendly => {
                let friendliness = friendliness(&text);
                (friendliness, friendliness / 3.0)
            }
        };
        (preference, Scored { score: preference * gate, measure, gate })
    }

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Elementary => "elementary",
            Self::Expert => "expert",
            Self::Friendly => "friendly",
        }
    }

    /// What [`Scored::measure`] is called in reports.
    pub fn measure_name(self) -> &'static str {
        match self {
            Self::Elementary => "Flesch-Kincaid grade",
            Self::Expert => "Flesch-Kincaid grade of sentences of up to 25 words",
            Self::Friendly => "friendliness (0 to 3)",
        }
    }
}
