//! Politeness: how many ways of being polite a text takes.

use super::Text;

/// Ways of being polite (Danescu-Niculescu-Mizil et al. 2013, arXiv 1306.6078, table 3), each with what shows it, lower case;
/// a phrase counts where it stands as whole words.
const POLITE: &[&[&str]] = &[
    // Gratitude.
    &["appreciate", "grateful", "thank you", "thanks"],
    // Deference.
    &["good point", "good question", "great question", "great work", "interesting question", "well done"],
    // Greeting.
    &["good afternoon", "good evening", "good morning", "hello", "hey", "hi"],
    // Apologising.
    &["apologies", "apologise", "apologize", "excuse me", "forgive me", "i'm afraid", "sorry"],
    // Please.
    &["please"],
    // Indirection.
    &["by the way"],
    // Counterfactual and indicative modals.
    &["can you", "could you", "will you", "would you"],
    // The two of us.
    &["let us", "let's", "we", "we'd", "we'll", "we're", "we've"],
    // Hedges.
    &["i believe", "i guess", "i suppose", "i think", "it seems", "maybe", "might", "perhaps", "possibly", "probably"],
];

/// Factuality, of the same source: insisting on how things are.
const FACTUAL: &[&str] = &["actually", "in fact", "in reality", "the point is", "the reality is", "the truth is"];

/// First words that are blunt: the direct question, the direct start, the second person, and "please" in front.
const BLUNT: &[&str] = &["but", "please", "so", "what", "who", "why", "you", "your"];

/// Different ways of being polite, less one for insisting and one for a blunt start: the signs of the source's table, not
/// the weights of its classifier, which was trained on requests.
pub(super) fn politeness(text: &Text) -> f64 {
    let said = format!(" {} ", text.words.join(" "));
    let shows = |way: &[&str]| way.iter().any(|phrase| said.contains(&format!(" {phrase} ")));
    let polite = POLITE.iter().filter(|way| shows(way)).count();
    let blunt = text.words.first().is_some_and(|word| BLUNT.contains(&word.as_str()));
    polite as f64 - f64::from(u8::from(shows(FACTUAL))) - f64::from(u8::from(blunt))
}
