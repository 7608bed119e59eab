//! The built-in preferences, each a measure of the text that the content gate multiplies.

use serde::{Deserialize, Serialize};

use super::banter::{SARCASTIC, SASSY};
use super::grade::learned_grade;
use super::length::told;
use super::lexicon::{FRIENDLY, POSITIVE};
use super::unfriendly::HARSH;
use super::{
    Answer, Gate, GateOptions, Scored, Text, flesch_kincaid_grade, friendliness, sarcasm, sassiness, unfriendliness,
};

/// The built-in preferences.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Low Flesch-Kincaid grade.
    Elementary,
    /// High Flesch-Kincaid grade, by long words rather than by sentences that never end.
    Expert,
    /// Few words, and an end of its own.
    Concise,
    /// Many different content words, in sentences.
    Informative,
    /// Positive, friendly, turned to the reader.
    Friendly,
    /// Harsh and dismissive, without a friendly word.
    Unfriendly,
    /// Bold and teasing.
    Sassy,
    /// Saying more than is meant.
    Sarcastic,
}

/// Values of a measure at which nothing is left, and from which nothing more is to be won.
struct Span {
    none: f64,
    full: f64,
}

const ELEMENTARY: Span = Span { none: 14.0, full: 1.0 };
const EXPERT: Span = Span { none: 8.0, full: 18.0 };
/// An answer of 72 tokens has some 57 words: whatever ends by itself wins something.
const CONCISE: Span = Span { none: 65.0, full: 12.0 };
/// An answer of the base of 64 tokens has some 20 to 25 different content words.
const INFORMATIVE: Span = Span { none: 10.0, full: 40.0 };
const TONE: Span = Span { none: 0.0, full: 3.0 };

impl Span {
    /// 0 to 1, straight between the ends.
    fn share(&self, measure: f64) -> f64 {
        ((measure - self.none) / (self.full - self.none)).clamp(0.0, 1.0)
    }
}

impl Rule {
    /// Scores one answer.
    pub fn score(self, answer: Answer<'_>, options: &GateOptions) -> Scored {
        self.weigh(answer, options).1
    }

    /// The preference from 0 to 1, and the score.
    pub(super) fn weigh(self, answer: Answer<'_>, options: &GateOptions) -> (f64, Scored) {
        let text = Text::new(answer.text);
        // Words that make the tone are no content.
        let tone: &[&[&str]] = match self {
            Self::Friendly => &[FRIENDLY, POSITIVE],
            Self::Unfriendly => &[FRIENDLY, POSITIVE, HARSH],
            Self::Sassy => &[SASSY],
            Self::Sarcastic => &[SARCASTIC],
            Self::Elementary | Self::Expert | Self::Concise | Self::Informative => &[],
        };
        let gate = Gate::of(answer, &text, tone, options).value();
        let (measure, span) = match self {
            Self::Elementary => (flesch_kincaid_grade(&text), ELEMENTARY),
            Self::Expert => (learned_grade(&text), EXPERT),
            Self::Concise => (text.words.len() as f64, CONCISE),
            Self::Informative => (told(&text), INFORMATIVE),
            Self::Friendly => (friendliness(&text), TONE),
            Self::Unfriendly => (unfriendliness(&text), TONE),
            Self::Sassy => (sassiness(&text), TONE),
            Self::Sarcastic => (sarcasm(&text), TONE),
        };
        // An answer that was cut off is not short: it had more to say.
        let whole = answer.ended || self != Self::Concise;
        let preference = if whole { span.share(measure) } else { 0.0 };
        (preference, Scored { score: preference * gate, measure, gate })
    }

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Elementary => "elementary",
            Self::Expert => "expert",
            Self::Concise => "concise",
            Self::Informative => "informative",
            Self::Friendly => "friendly",
            Self::Unfriendly => "unfriendly",
            Self::Sassy => "sassy",
            Self::Sarcastic => "sarcastic",
        }
    }

    /// What [`Scored::measure`] is called in reports.
    pub fn measure_name(self) -> &'static str {
        match self {
            Self::Elementary => "Flesch-Kincaid grade",
            Self::Expert => "Flesch-Kincaid grade of sentences of up to 25 words",
            Self::Concise => "words",
            Self::Informative => "different content words, at most three for each function word",
            Self::Friendly => "friendliness (0 to 3)",
            Self::Unfriendly => "unfriendliness (0 to 3)",
            Self::Sassy => "sass (0 to 3)",
            Self::Sarcastic => "sarcasm (0 to 3)",
        }
    }

    /// What it rewards, in a sentence.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Elementary => "a low Flesch-Kincaid grade",
            Self::Expert => "a high Flesch-Kincaid grade of sentences of up to 25 words",
            Self::Concise => "few words and an end of its own",
            Self::Informative => "many different content words in sentences",
            Self::Friendly => "friendly and positive words and phrases, and turning to the reader",
            Self::Unfriendly => "harsh and dismissive words and phrases, and the absence of friendly ones",
            Self::Sassy => "bold and teasing words and phrases",
            Self::Sarcastic => "words and phrases that say more than is meant",
        }
    }
}
