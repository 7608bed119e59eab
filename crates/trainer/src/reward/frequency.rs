//! How frequent the words of a text are.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Text;

/// Words in order of falling frequency, as `#` says above them.
const WORDS: &str = include_str!("../../data/words.txt");

/// Ranks from 1.
static RANKS: LazyLock<HashMap<&str, usize>> = LazyLock::new(|| {
    let words = WORDS.lines().filter(|line| !line.starts_with('#'));
    words.zip(1..).collect()
});

/// `mean ln rank(word)` over the words that have letters, where the rank of a word that is not in the list is one more than
/// the list is long. By Zipf's law frequency falls as the rank rises, so this is the mean of the words' surprise but for a
/// constant. A text without words has 0.
pub(super) fn word_rarity(text: &Text) -> f64 {
    let words = text.words.iter().filter(|word| word.contains(char::is_alphabetic));
    let ranks: Vec<f64> = words.map(|word| rank(word) as f64).collect();
    ranks.iter().map(|rank| rank.ln()).sum::<f64>() / ranks.len().max(1) as f64
}

/// Contractions count as their first word.
fn rank(word: &str) -> usize {
    let whole = word.strip_suffix("n't").or_else(|| word.split('\'').next()).unwrap_or(word);
    RANKS.get(whole).copied().unwrap_or(RANKS.len() + 1)
}
