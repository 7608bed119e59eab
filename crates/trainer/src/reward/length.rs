//! How much an answer tells.

use super::Text;
use super::gate::stems;
use super::lexicon::STOP;

/// Different content words, at most three for each function word and three more: a bare list of words tells nothing about
/// them.
pub(super) fn told(text: &Text) -> f64 {
    let function_words = text.words.iter().filter(|word| STOP.contains(&word.as_str())).count();
    stems(&text.words, &[]).len().min(3 * function_words + 3) as f64
}
