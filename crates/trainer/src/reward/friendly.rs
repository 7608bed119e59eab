//! Friendliness: positive and friendly words, friendly phrases, turning to the reader, warmth of tone.

use super::Text;
use super::lexicon::{ADDRESS, COLD, FRIENDLY, PHRASES, POSITIVE};
use super::text::distinct;

/// `1 - e^(-n / scale)`: the second of a kind counts less than the first, the tenth nearly nothing.
pub(super) fn saturating(count: f64, scale: f64) -> f64 {
    1.0 - (-count / scale).exp()
}

/// Friendliness from 0 to 3. Only *different* words and phrases count, and each kind saturates, so that repeating one
/// word or stacking one kind wins nothing: `words + phrases + address/2 + tone/2`.
pub fn friendliness(text: &Text) -> f64 {
    let of = |list: &[&str]| distinct(text.words.iter().map(String::as_str).filter(|word| list.contains(word))) as f64;
    let phrases = PHRASES.iter().filter(|phrase| text.lower.contains(**phrase)).count() as f64;
    let words = saturating((of(FRIENDLY) + 0.7 * of(POSITIVE) - of(COLD)).max(0.0), 2.0);
    let address = saturating(of(ADDRESS), 1.5);
    let tone = saturating(text.exclamations.min(3) as f64, 1.0);
    words + saturating(phrases, 0.8) + 0.5 * address + 0.5 * tone
}
