//! The content gate: what keeps broken, empty, repeated, off-topic or improbable text from winning.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::lexicon::STOP;
use super::{Answer, Text};

/// Where the parts of the gate open and close.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateOptions {
    /// Different content words that a full answer has.
    pub content_words: f64,
    /// Words that a full answer has.
    pub words: f64,
    /// Negative log-likelihood per token under the base up to which the gate is fully open, in nats.
    pub nll_open: f64,
    /// Negative log-likelihood per token under the base from which it is shut, in nats.
    pub nll_shut: f64,
}

impl Default for GateOptions {
    fn default() -> Self {
        Self { content_words: 7.0, words: 18.0, nll_open: 2.5, nll_shut: 3.8 }
    }
}

/// The parts of the gate of one answer, each 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// Enough words, and enough different content words.
    pub content: f64,
    /// Words and pairs of words are not repeated.
    pub repetition: f64,
    /// Words of the prompt come up again.
    pub topic: f64,
    /// The prompt is not merely copied.
    pub copy: f64,
    /// Words look like words, characters like text.
    pub words: f64,
    /// Sentences end, and are not chopped into single words.
    pub sentences: f64,
    /// The base finds the answer probable enough.
    pub fluency: f64,
}

/// 0 up to `shut`, 1 from `open` on, straight between (`shut` may be above `open`).
fn ramp(value: f64, shut: f64, open: f64) -> f64 {
    ((value - shut) / (open - shut)).clamp(0.0, 1.0)
}

impl Gate {
    /// The gate of an answer. Words of the lists `tone` are not counted as content.
    pub fn of(answer: Answer<'_>, text: &Text, tone: &[&[&str]], options: &GateOptions) -> Self {
        let content = stems(&text.words, tone);
        let prompt = Text::new(answer.prompt);
        let asked = stems(&prompt.words, &[]);
        let hits = asked.intersection(&content).count() as f64;
        let wanted = (asked.len() as f64).clamp(1.0, 2.0);
        let enough_words = ramp(text.words.len() as f64, 3.0, options.words);
        let average = text.words.len() as f64 / text.sentences.len().max(1) as f64;
        let all_ended = !answer.ended || answer.text.trim_end().ends_with(['.', '!', '?', '"', ')', '*']);
        let has_end = if text.ended_sentences > 0 { 1.0 } else { 0.4 };
        Self {
            content: enough_words * ramp(content.len() as f64, 1.0, options.content_words),
            repetition: ramp(text.distinct_share(), 0.35, 0.6) * ramp(text.distinct_pairs_share(), 0.6, 0.9),
            topic: if asked.is_empty() { 1.0 } else { 0.4 + 0.6 * (hits / wanted).min(1.0) },
            copy: ramp(copied(&prompt.words, &text.words), 0.8, 0.3),
            words: ramp(broken(&text.words), 0.25, 0.03) * ramp(text.odd_share, 0.15, 0.03),
            sentences: ramp(average, 2.0, 4.5) * has_end * if all_ended { 1.0 } else { 0.6 },
            fluency: ramp(answer.base_nll, options.nll_shut, options.nll_open),
        }
    }

    /// The product of all parts.
    pub fn value(&self) -> f64 {
        let Self { content, repetition, topic, copy, words, sentences, fluency } = *self;
        content * repetition * topic * copy * words * sentences * fluency
    }
}

/// The first six letters of every content word.
pub(super) fn stems(words: &[String], tone: &[&[&str]]) -> BTreeSet<String> {
    let is_tone = |word: &str| tone.iter().any(|list| list.contains(&word));
    let content = words.iter().filter(|word| word.len() > 2 && !STOP.contains(&word.as_str()) && !is_tone(word));
    let singular = |word: &String| word.strip_suffix('s').unwrap_or(word).chars().take(6).collect();
    content.map(singular).collect()
}

/// Share of the answer's runs of three words that stand in the prompt too.
fn copied(prompt: &[String], answer: &[String]) -> f64 {
    let known: BTreeSet<_> = prompt.windows(3).collect();
    let runs = answer.windows(3);
    let count = runs.len().max(1);
    runs.filter(|run| known.contains(run)).count() as f64 / count as f64
}

/// Share of words that no dictionary would hold: no vowel, a letter three times over, letters mixed with digits, or too long.
fn broken(words: &[String]) -> f64 {
    let is_broken = |word: &&String| {
        let letters: Vec<char> = word.chars().filter(|c| c.is_alphabetic()).collect();
        let digits = word.chars().any(|c| c.is_ascii_digit());
        let vowel = letters.iter().any(|c| "aeiouyáéíóúäöüèêàâôîï".contains(*c));
        let tripled = letters.windows(3).any(|run| run[0] == run[1] && run[1] == run[2]);
        let single = letters.len() == 1 && !matches!(letters[0], 'a' | 'i');
        let known = matches!(word.as_str(), "mr" | "mrs" | "dr" | "hmm" | "vs" | "tv" | "st" | "nd" | "rd" | "th");
        !letters.is_empty()
            && !known
            && (!vowel || tripled || single || letters.len() > 18 || (digits && letters.len() > 2))
    };
    words.iter().filter(is_broken).count() as f64 / words.len().max(1) as f64
}
