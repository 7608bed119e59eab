//! Rule rewards: how strongly an answer shows a preference, times how much of an answer it still is.
//!
//! A rule alone is hacked within forty steps, so the measure of the preference (0 to 1) is multiplied by a gate (0 to 1)
//! that broken, empty, repeated, off-topic or improbable text cannot pass: text that wins must show the preference *and*
//! answer the prompt.

mod friendly;
mod gate;
mod grade;
mod lexicon;
mod syllables;
mod text;

pub use friendly::friendliness;
pub use gate::{Gate, GateOptions};
pub use grade::flesch_kincaid_grade;
pub use syllables::syllables;
pub use text::Text;

use serde::{Deserialize, Serialize};

/// The built-in preferences.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Low Flesch-Kincaid grade.
    Elementary,
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

/// What scores answers. A run takes the rule of its configuration; tests and other rewards bring their own.
pub trait Reward {
    /// Scores one answer.
    fn score(&self, answer: Answer<'_>) -> Scored;
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

impl Reward for RuleReward {
    fn score(&self, answer: Answer<'_>) -> Scored {
        let (preference, scored) = self.rule.weigh(answer, &self.gate);
        Scored { score: preference.powf(self.power) * scored.gate, ..scored }
    }
}

/// The grade at or under which nothing more is to be won, and the grade at which nothing is left.
const GRADES: (f64, f64) = (1.0, 14.0);

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
            Self::Friendly => {
                let friendliness = friendliness(&text);
                (friendliness, friendliness / 3.0)
            }
        };
        (preference, Scored { score: preference * gate, measure, gate })
    }

    /// What [`Scored::measure`] is called in reports.
    pub fn measure_name(self) -> &'static str {
        match self {
            Self::Elementary => "Flesch-Kincaid grade",
            Self::Friendly => "friendliness (0 to 3)",
        }
    }
}
