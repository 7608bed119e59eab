//! Measures of an answer's text, in their own units.

use std::collections::BTreeSet;

use flate2::{Compression, read::DeflateEncoder};
use serde::{Deserialize, Serialize};
use vader_sentimental::SentimentIntensityAnalyzer;

use super::frequency::word_rarity;
use super::lexicon::{READER, STOP};
use super::politeness::politeness;
use super::{Text, flesch_kincaid_grade, friendliness, sarcasm, sassiness, unfriendliness};

const INTERJECTIONS: &[&str] = &[
    "ah", "aha", "alas", "bravo", "gee", "gosh", "ha", "haha", "hmm", "hooray", "huh", "oh", "ooh", "wow", "yay",
    "yeah",
];

/// What is measured.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Flesch-Kincaid grade: school years by syllables a word and words a sentence.
    FleschKincaid,
    /// Coleman-Liau index: school years by letters and sentences a hundred words (Coleman and Liau 1975).
    ColemanLiau,
    /// Friendliness, 0 to 3, of the friendly rule.
    Friendliness,
    /// Unfriendliness, 0 to 3, of the unfriendly rule.
    Unfriendliness,
    /// Sass, 0 to 3, of the sassy rule.
    Sassiness,
    /// Sarcasm, 0 to 3, of the sarcastic rule.
    Sarcasm,
    /// Words a hundred that point at the reader: the sassy rule counts none by itself.
    Address,
    /// Interjections, question and exclamation marks a sentence, by which sarcasm is told from praise (Gonzalez-Ibanez,
    /// Muresan and Wacholder 2011): the sarcastic rule counts none by itself.
    Interjections,
    /// Mean natural logarithm of the words' ranks by frequency, 0 to 9.2: rare words are what a text of the field is told by.
    WordRarity,
    /// VADER's compound sentiment, -1 to 1 (Hutto and Gilbert 2014): a lexicon that no rule here is trained on.
    Sentiment,
    /// Ways of being polite less ways of being impolite (Danescu-Niculescu-Mizil et al. 2013, arXiv 1306.6078): -2 to 9.
    Politeness,
    /// Words.
    Words,
    /// Different words that carry content.
    ContentWords,
    /// Bytes of the text after DEFLATE: what is said again, in whatever words, costs little.
    CompressedBytes,
}

/// A measure and which way is better.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct MeasureOptions {
    /// What is measured.
    pub measure: Measure,
    /// Whether more of it is better.
    pub higher: bool,
}

impl Measure {
    /// Measures `text`.
    pub fn of(self, text: &str) -> f64 {
        let parts = Text::new(text);
        match self {
            Self::FleschKincaid => flesch_kincaid_grade(&parts),
            Self::ColemanLiau => coleman_liau(&parts),
            Self::Friendliness => friendliness(&parts),
            Self::Unfriendliness => unfriendliness(&parts),
            Self::Sassiness => sassiness(&parts),
            Self::Sarcasm => sarcasm(&parts),
            Self::Address => {
                let to_reader = parts.words.iter().filter(|word| READER.contains(&word.as_str())).count();
                100.0 * to_reader as f64 / parts.words.len().max(1) as f64
            }
            Self::Interjections => {
                let cries = parts.words.iter().filter(|word| INTERJECTIONS.contains(&word.as_str())).count();
                let marks = text.matches(['?', '!']).count();
                (cries + marks) as f64 / parts.sentences.len().max(1) as f64
            }
            Self::WordRarity => word_rarity(&parts),
            Self::Sentiment => SentimentIntensityAnalyzer::new().polarity_scores(text).compound,
            Self::Politeness => politeness(&parts),
            Self::Words => parts.words.len() as f64,
            Self::ContentWords => {
                let content = parts.words.iter().filter(|word| word.len() > 2 && !STOP.contains(&word.as_str()));
                content.collect::<BTreeSet<_>>().len() as f64
            }
            Self::CompressedBytes => compressed(text),
        }
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::FleschKincaid => "Flesch-Kincaid grade",
            Self::ColemanLiau => "Coleman-Liau grade",
            Self::Friendliness => "friendliness (0 to 3)",
            Self::Unfriendliness => "unfriendliness (0 to 3)",
            Self::Sassiness => "sass (0 to 3)",
            Self::Sarcasm => "sarcasm (0 to 3)",
            Self::Address => "words a hundred that point at the reader",
            Self::Interjections => "interjections and marks a sentence",
            Self::WordRarity => "rarity of words (0 to 9.2)",
            Self::Sentiment => "VADER sentiment (-1 to 1)",
            Self::Politeness => "politeness (-2 to 9)",
            Self::Words => "words",
            Self::ContentWords => "content words",
            Self::CompressedBytes => "compressed bytes",
        }
    }
}

fn compressed(text: &str) -> f64 {
    let mut bytes = DeflateEncoder::new(text.as_bytes(), Compression::best());
    // Reading from memory does not fail.
    std::io::copy(&mut bytes, &mut std::io::sink()).unwrap_or_default() as f64
}

/// `.0588 L - .296 S - 15.8`, with letters and sentences a hundred words; 0 for a text without words.
fn coleman_liau(text: &Text) -> f64 {
    if text.words.is_empty() {
        return 0.0;
    }
    let hundreds = text.words.len() as f64 / 100.0;
    let letters = text.words.iter().flat_map(|word| word.chars()).filter(|c| c.is_alphanumeric()).count() as f64;
    0.0588 * letters / hundreds - 0.296 * text.sentences.len() as f64 / hundreds - 15.8
}
