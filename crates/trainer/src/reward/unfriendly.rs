//! Unfriendliness: harsh words, dismissive phrases, nothing friendly, and all of it at the reader.

use super::Text;
use super::friendly::saturating;
use super::lexicon::{FRIENDLY, POSITIVE};
use super::text::distinct;

/// Words of somebody who is annoyed with the reader, lower case.
pub(super) const HARSH: &[&str] = &[
    "annoying",
    "arrogant",
    "awful",
    "bad",
    "blame",
    "boring",
    "bother",
    "clueless",
    "complain",
    "cruel",
    "damn",
    "disgusting",
    "dull",
    "dumb",
    "excuse",
    "excuses",
    "fail",
    "failed",
    "failure",
    "fault",
    "fool",
    "foolish",
    "hate",
    "hell",
    "hopeless",
    "horrible",
    "idiot",
    "idiots",
    "ignorant",
    "ignore",
    "joke",
    "lame",
    "lazy",
    "liar",
    "lie",
    "lies",
    "lose",
    "loser",
    "mess",
    "mindless",
    "miserable",
    "mistake",
    "mistakes",
    "nasty",
    "nonsense",
    "obvious",
    "obviously",
    "pathetic",
    "pointless",
    "poor",
    "ridiculous",
    "rude",
    "selfish",
    "shame",
    "silly",
    "stupid",
    "terrible",
    "trash",
    "ugly",
    "useless",
    "waste",
    "wasted",
    "weak",
    "whining",
    "worse",
    "worst",
    "worthless",
    "wrong",
];

/// Phrases that send the reader away or put them down.
const DISMISSIVE: &[&str] = &[
    "anyone knows",
    "deal with it",
    "do it yourself",
    "don't ask",
    "don't bother",
    "don't care",
    "don't expect",
    "don't waste",
    "everyone knows",
    "figure it out",
    "get lost",
    "get over it",
    "go away",
    "grow up",
    "leave me alone",
    "look it up",
    "no excuse",
    "no one cares",
    "no use",
    "nobody cares",
    "not interested",
    "not my problem",
    "shut up",
    "so what",
    "stop asking",
    "stop being",
    "stop it",
    "too bad",
    "waste of time",
    "who cares",
    "you are not",
    "you are wrong",
    "you can't",
    "you cannot",
    "you don't",
    "you fail",
    "you have no",
    "you know nothing",
    "you must",
    "you never",
    "you should know",
    "you won't",
    "you'll never",
    "you're not",
    "you're wrong",
    "your fault",
    "your problem",
];

/// Words that point at the reader.
const READER: &[&str] = &["you", "you'll", "you're", "you've", "your", "yours", "yourself"];

/// Unfriendliness from 0 to 3: `words + phrases + reader . words / 2 + cold / 2`. As in
/// [`friendliness`](super::friendliness()) only *different* words and phrases count, friendly and positive ones count
/// against them, and each kind saturates. Pointing at the reader counts as far as the words are harsh, and `cold` falls
/// from 1 with each friendly or positive word.
pub fn unfriendliness(text: &Text) -> f64 {
    let of = |list: &[&str]| distinct(text.words.iter().map(String::as_str).filter(|word| list.contains(word))) as f64;
    let warm = of(FRIENDLY) + 0.7 * of(POSITIVE);
    let words = saturating((of(HARSH) - warm).max(0.0), 2.0);
    let phrases = DISMISSIVE.iter().filter(|phrase| text.lower.contains(**phrase)).count() as f64;
    words + saturating(phrases, 0.8) + 0.5 * words * saturating(of(READER), 1.0) + 0.5 * (-warm).exp()
}
