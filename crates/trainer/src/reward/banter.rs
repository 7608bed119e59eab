//! Sass and sarcasm: two tones that mock, one by being bold, one by not meaning what it says.

use super::Text;
use super::friendly::saturating;
use super::text::distinct;

/// Words of somebody who is bold and knows it, lower case; none that answers need for what they tell, such as "sugar".
pub(super) const SASSY: &[&str] = &[
    "attitude",
    "babe",
    "boss",
    "chic",
    "cute",
    "darling",
    "dear",
    "diva",
    "drama",
    "dramatic",
    "duh",
    "fabulous",
    "fancy",
    "fierce",
    "flaunt",
    "gorgeous",
    "hon",
    "honey",
    "glamorous",
    "queen",
    "sass",
    "sassy",
    "seriously",
    "shocker",
    "slay",
    "strut",
    "stunning",
    "sweetheart",
    "sweetie",
    "ugh",
    "whatever",
];

/// Phrases of the same.
const BOLD: &[&str] = &[
    "as if",
    "bless your",
    "deal with it",
    "don't be that",
    "don't even",
    "don't get me started",
    "excuse me",
    "guess what",
    "hold on",
    "i said what i said",
    "keep up",
    "let me tell you",
    "like it or not",
    "like you own",
    "listen up",
    "mic drop",
    "no excuse",
    "no kidding",
    "not gonna lie",
    "now that is",
    "own it",
    "sit down",
    "spoiler alert",
    "take a seat",
    "take notes",
    "talk about",
    "thank me later",
    "trust me",
    "watch and learn",
    "you wish",
    "you're welcome",
    "your business",
];

/// Words that say more than is meant, lower case.
pub(super) const SARCASTIC: &[&str] = &[
    "absolutely",
    "apparently",
    "amazingly",
    "brilliant",
    "clearly",
    "congratulations",
    "fascinating",
    "genius",
    "groundbreaking",
    "heaven",
    "hero",
    "lovely",
    "magic",
    "magically",
    "miracle",
    "miraculously",
    "mystery",
    "naturally",
    "obviously",
    "original",
    "revolutionary",
    "riveting",
    "shocking",
    "shockingly",
    "supposedly",
    "surely",
    "surprise",
    "surprisingly",
    "thrilled",
    "thrilling",
    "totally",
    "tragedy",
    "truly",
    "wonderful",
];

/// Phrases of the same.
const IRONIC: &[&str] = &[
    "as if",
    "because that",
    "big surprise",
    "but of course",
    "can't imagine",
    "can't wait",
    "could go wrong",
    "could possibly",
    "everyone's favorite",
    "good luck with",
    "how boring",
    "how convenient",
    "how could",
    "how lovely",
    "how original",
    "how wonderful",
    "i know",
    "i'm sure",
    "just what",
    "of course",
    "oh great",
    "oh no",
    "oh sure",
    "oh, great",
    "oh, just",
    "oh, no",
    "oh, of course",
    "oh, sure",
    "oh, the",
    "rocket science",
    "so much better",
    "sounds so",
    "what a",
    "what else",
    "what fun",
    "who knew",
    "who needs",
    "who would have",
    "yeah right",
    "yeah, right",
];

/// Sass from 0 to 3: `2 words + phrases`. As in [`friendliness`](super::friendliness()) only *different* words and phrases
/// count, and each kind saturates.
pub fn sassiness(text: &Text) -> f64 {
    tone(text, SASSY, BOLD)
}

/// Sarcasm from 0 to 3: `2 words + phrases`, different ones, each kind saturating. What is meant is not measured, only how
/// it is said.
pub fn sarcasm(text: &Text) -> f64 {
    tone(text, SARCASTIC, IRONIC)
}

fn tone(text: &Text, words: &[&str], phrases: &[&str]) -> f64 {
    let said = distinct(text.words.iter().map(String::as_str).filter(|word| words.contains(word))) as f64;
    let phrases = phrases.iter().filter(|phrase| text.lower.contains(**phrase)).count() as f64;
    2.0 * saturating(said, 1.5) + saturating(phrases, 1.0)
}
