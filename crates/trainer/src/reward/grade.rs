//! The Flesch-Kincaid grade.

use super::{Text, syllables};

/// `0.39 words/sentences + 11.8 syllables/words - 15.59` (Kincaid et al. 1975): years of school needed.
/// A text without words has the grade 0, which the gate keeps from winning anything.
pub fn flesch_kincaid_grade(text: &Text) -> f64 {
    grade(text, f64::INFINITY)
}

/// The grade, with sentences of at most 25 words: a sentence that never ends reads badly, and not learned.
pub(super) fn learned_grade(text: &Text) -> f64 {
    grade(text, 25.0)
}

fn grade(text: &Text, longest: f64) -> f64 {
    if text.words.is_empty() {
        return 0.0;
    }
    let words = text.words.len() as f64;
    let spoken = text.words.iter().map(|word| syllables(word)).sum::<usize>() as f64;
    0.39 * (words / text.sentences.len().max(1) as f64).min(longest) + 11.8 * spoken / words - 15.59
}
