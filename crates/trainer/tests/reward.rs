//! Rewards: the measures themselves, and that bad text cannot win.

use tureen_trainer::reward::{
    Answer, GateOptions, Measure, Rule, Text, flesch_kincaid_grade, friendliness, sarcasm, sassiness, syllables,
    unfriendliness,
};

const PROMPT: &str = "How do plants make their food?";
const PLAIN: &str = "Plants make food from light. The leaves take in sun and air. The roots drink water from the soil. Then the \
                     leaves make sugar, and the plant can grow.";
const LEARNED: &str = "Photosynthesis constitutes the fundamental biochemical mechanism whereby autotrophic organisms, utilising \
                       electromagnetic radiation, synthesise carbohydrates from atmospheric carbon dioxide in their food \
                       manufacturing plants.";
const WARM: &str = "Great question! Plants make their food with sunlight, and you can watch it at home. I'm so happy you asked! \
                    Let's look at a green leaf together: it drinks water and turns light into sugar.";

const SHORT: &str = "Plants make their food, sugar, from light, water and air in their leaves.";
const FULL: &str = "Green plants build their food from sunlight, water and carbon dioxide. Roots drink water with minerals, and \
                    thin veins carry it to every leaf, where chlorophyll catches light. The energy splits water, releases oxygen \
                    and stores sugar, which feeds stems, flowers, fruit and seeds.";
const HARSH: &str = "Plants make food from light, obviously, and everyone knows that. Don't waste my time with a lazy question. You \
                     never look at a leaf, and you ignore the sun and the water. Figure it out.";

const SASSY: &str = "Listen up, honey. Plants make their own food from light, water and air, and they look gorgeous doing it. No \
                     kitchen, no drama, darling. Every leaf is a tiny boss. Take notes.";
const SARCASTIC: &str = "Oh, what a mystery. Surely the leaves order a pizza. Or they make sugar from light, water and air, but of \
                         course, who needs facts when food could obviously be magic?";

fn score_at(rule: Rule, text: &str, base_nll: f64) -> f64 {
    rule.score(Answer { prompt: PROMPT, text, ended: true, base_nll }, &GateOptions::default()).score
}

fn score(rule: Rule, text: &str) -> f64 {
    score_at(rule, text, 2.0)
}

#[test]
fn syllables_of_common_words() {
    let expected = [
        ("cat", 1),
        ("water", 2),
        ("make", 1),
        ("little", 2),
        ("jumped", 1),
        ("wanted", 2),
        ("nation", 2),
        ("photosynthesis", 5),
        ("the", 1),
        ("horses", 2),
        ("makes", 1),
        ("piano", 3),
        ("question", 2),
        ("idea", 3),
    ];
    let wrong: Vec<_> = expected.iter().filter(|(word, count)| syllables(word) != *count).collect();
    // The rule has no dictionary: "idea" and the like are known misses, but they must stay rare.
    assert!(wrong.len() <= 1, "{wrong:?}");
}

#[test]
fn the_grade_is_the_published_formula() {
    // 6 words, 1 sentence, 6 syllables.
    let grade = flesch_kincaid_grade(&Text::new("The cat sat on the mat."));
    assert!((grade - (0.39 * 6.0 + 11.8 - 15.59)).abs() < 1e-9);
    assert!(flesch_kincaid_grade(&Text::new(LEARNED)) > flesch_kincaid_grade(&Text::new(PLAIN)) + 8.0);
}

#[test]
fn list_numbers_are_no_sentences_and_lines_are() {
    assert_eq!(Text::new("Two things:\n1. Eat well.\n2. Sleep well.").sentences, [2, 2, 2]);
}

#[test]
fn the_preference_decides_between_good_answers() {
    assert!(score(Rule::Elementary, PLAIN) > score(Rule::Elementary, LEARNED) + 0.3);
    assert!(score(Rule::Expert, LEARNED) > score(Rule::Expert, PLAIN) + 0.3);
    assert!(score(Rule::Friendly, WARM) > score(Rule::Friendly, PLAIN) + 0.3);
    assert!(score(Rule::Unfriendly, HARSH) > score(Rule::Unfriendly, PLAIN) + 0.3);
    assert!(score(Rule::Unfriendly, HARSH) > score(Rule::Unfriendly, WARM) + 0.5);
    assert!(score(Rule::Informative, FULL) > score(Rule::Informative, PLAIN) + 0.3);
    for other in [PLAIN, WARM, HARSH] {
        assert!(score(Rule::Sassy, SASSY) > score(Rule::Sassy, other) + 0.5, "{other}");
        assert!(score(Rule::Sarcastic, SARCASTIC) > score(Rule::Sarcastic, other) + 0.3, "{other}");
    }
    assert!(score(Rule::Sassy, SASSY) > score(Rule::Sassy, SARCASTIC) + 0.5);
    assert!(score(Rule::Sarcastic, SARCASTIC) > score(Rule::Sarcastic, SASSY) + 0.5);
}

#[test]
fn bad_text_loses_to_a_decent_answer() {
    let repeated = "Plants eat food. ".repeat(12);
    let friendly_words =
        "Hey there! Great question! I'm so happy! You're welcome! Thank you, my friend! Wow, awesome, fun!";
    let one_word = "food ".repeat(40);
    let bad = [
        ("empty", ""),
        ("one word", "Sun."),
        ("gibberish", "Xqz plnt fd grk mmm bvt zzzzt krk trwq. Hjk pqr vbn mnb. Grk fdx plk jhg wrt qsd xcv."),
        ("repeated sentence", &repeated),
        ("repeated word", &one_word),
        (
            "prompt copied",
            "How do plants make their food? How do plants make their food? How do plants make their food?",
        ),
        ("no sentence end", "food plants make leaf sun"),
        ("friendly words alone", friendly_words),
        ("symbols", "★ ☆ ★ plants ☆ ★ food ☆ ★ ☀ ☀ ☀ ★ ☆ ★ ☆ ★ ☆"),
    ];
    let decent_answers = [
        (Rule::Elementary, PLAIN),
        (Rule::Expert, LEARNED),
        (Rule::Concise, SHORT),
        (Rule::Informative, FULL),
        (Rule::Friendly, WARM),
        (Rule::Unfriendly, HARSH),
        (Rule::Sassy, SASSY),
        (Rule::Sarcastic, SARCASTIC),
    ];
    for (rule, decent) in decent_answers {
        let decent = score(rule, decent);
        for (name, text) in bad {
            let bad = score(rule, text);
            assert!(bad < 0.6 * decent, "{rule:?}, {name}: {bad} against {decent}");
        }
    }
}

#[test]
fn a_sentence_that_never_ends_is_not_learned() {
    let more =
        "Food goes from the leaf to the root, and a part of it stays in the seed for the new plant in the spring.";
    let endless = format!("{PLAIN} {more}").replace(". ", " and ");
    assert!(flesch_kincaid_grade(&Text::new(&endless)) > 11.0);
    assert!(score(Rule::Expert, &endless) < 0.3 * score(Rule::Expert, LEARNED));
}

#[test]
fn off_topic_and_improbable_answers_lose() {
    let elsewhere =
        "The old king had a big red car. He drove it to the sea. A dog sat by the road. The king gave the dog a bone.";
    assert!(score(Rule::Elementary, elsewhere) < 0.6 * score(Rule::Elementary, PLAIN));
    assert!(score_at(Rule::Elementary, PLAIN, 3.3) < 0.6 * score_at(Rule::Elementary, PLAIN, 2.3));
    assert_eq!(score_at(Rule::Elementary, PLAIN, 4.5), 0.0);
}

#[test]
fn friendliness_counts_a_word_once_and_saturates() {
    let once = friendliness(&Text::new("I love plants."));
    assert_eq!(friendliness(&Text::new("I love love love love plants.")), once);
    let stacked =
        "Hey there, my friend! Wow! Yay! I'm so happy, glad, delighted, excited! You're awesome, let's have fun!";
    assert!(friendliness(&Text::new(stacked)) <= 3.0);
    assert!(friendliness(&Text::new("This is awful, stupid and boring.")) < 0.1);
}

/// The gate of the concise policy: one sentence is a whole answer.
fn short_score(text: &str, ended: bool) -> f64 {
    let options = GateOptions { words: 9.0, content_words: 4.0, ..GateOptions::default() };
    Rule::Concise.score(Answer { prompt: PROMPT, text, ended, base_nll: 2.0 }, &options).score
}

#[test]
fn concise_is_short_and_whole() {
    assert!(short_score(SHORT, true) > 0.9);
    assert!(short_score(PLAIN, true) < 0.75 * short_score(SHORT, true));
    assert!(short_score(FULL, true) < 0.5 * short_score(SHORT, true));
    // Cut off, empty, or no sentence: nothing said in few words.
    assert_eq!(short_score(SHORT, false), 0.0);
    for text in [
        "",
        "Sun.",
        "Light.",
        "Plants, food, sun.",
        "Yes, they do.",
        "Plants plants plants plants plants plants plants.",
    ] {
        assert!(short_score(text, true) < 0.4 * short_score(SHORT, true), "{text:?}");
    }
    let elsewhere = "The old king drove his red car to the sea with a dog.";
    assert!(short_score(elsewhere, true) < 0.6 * short_score(SHORT, true));
}

#[test]
fn a_list_of_words_tells_nothing() {
    let list = "Plants, food, light, leaf, root, water, sugar, oxygen, carbon, dioxide, stem, flower, seed, fruit, soil, energy, \
                chlorophyll, mineral, vein, sun, green, air.";
    assert!(score(Rule::Informative, list) < 0.2 * score(Rule::Informative, FULL));
    let again = format!("{PLAIN} {PLAIN} {PLAIN}");
    assert!(score(Rule::Informative, &again) < score(Rule::Informative, PLAIN));
}

#[test]
fn unfriendliness_counts_a_word_once_and_needs_a_cold_tone() {
    let of = |text| unfriendliness(&Text::new(text));
    let once = of("This is a stupid question.");
    assert_eq!(of("This is a stupid stupid stupid stupid question."), once);
    assert!(once > of("This is a question.") + 0.3);
    assert!(of("This is a stupid question, my dear friend, and I love it.") < of("This is a question."));
    let stacked =
        "Shut up. Get lost. Go away. Who cares? You're wrong, stupid, lazy, pathetic, useless, boring, awful, selfish.";
    assert!(of(stacked) <= 3.0);
}

#[test]
fn insults_alone_are_no_answer() {
    let insults = "You're wrong. You are stupid and lazy. Shut up and get lost. You can't do it, and nobody cares. Go away, fool.";
    assert!(score(Rule::Unfriendly, insults) < 0.4 * score(Rule::Unfriendly, HARSH));
}

#[test]
fn tones_count_a_word_once_and_saturate() {
    let sass = |text: &str| sassiness(&Text::new(text));
    assert_eq!(sass("Honey, honey, honey, it is light."), sass("Honey, it is light."));
    assert!(sass("Honey, darling, queen, diva, boss, duh. As if. You wish. Trust me. Take notes.") <= 3.0);
    let irony = |text: &str| sarcasm(&Text::new(text));
    assert_eq!(irony("Obviously, obviously, obviously it is light."), irony("Obviously it is light."));
    assert!(irony("Surely, obviously, truly, clearly, a genius. Oh, sure. What a surprise. Who knew?") <= 3.0);
    assert_eq!(sass(PLAIN) + irony(PLAIN), 0.0);
}

#[test]
fn pet_names_alone_are_no_answer() {
    let names = "Honey, darling, sweetie, listen up. Trust me, babe, take notes. You're welcome, sugar. Keep up, gorgeous queen.";
    assert!(score(Rule::Sassy, names) < 0.4 * score(Rule::Sassy, SASSY));
    let cries = "Oh, sure. What a surprise. Obviously. Who would have thought? How lovely, how original, truly shocking. Of course.";
    assert!(score(Rule::Sarcastic, cries) < 0.4 * score(Rule::Sarcastic, SARCASTIC));
}

#[test]
fn judges_of_a_tone_count_none_of_its_words() {
    assert_eq!(Measure::Address.of("Honey, darling, fabulous."), 0.0);
    assert_eq!(Measure::Address.of("You and your tea, honey."), 40.0);
    assert_eq!(Measure::Interjections.of("Obviously magic. Surely a miracle."), 0.0);
    // Two interjections and two marks in two sentences.
    assert_eq!(Measure::Interjections.of("Oh, wow! Who needs that?"), 2.0);
}

#[test]
fn rare_words_are_told_by_their_ranks() {
    let rarity = |text: &str| Measure::WordRarity.of(text);
    // "a" and "the" are the first two of ten thousand.
    assert_eq!(rarity("A."), 0.0);
    assert!((rarity("The the a a, 42") - 2f64.ln() / 2.0).abs() < 1e-12);
    assert!((rarity("zyzzyva") - 10_001f64.ln()).abs() < 1e-12);
    assert_eq!(rarity("You don't."), rarity("You do."));
    assert_eq!(rarity(" 42 "), 0.0);
    let plain = rarity("Plants use light from the sun to make their food out of air and water.");
    let learned =
        rarity("Photoautotrophs transduce photon energy into chemiosmotic gradients across thylakoid membranes.");
    assert!(plain + 2.0 < learned, "{plain} {learned}");
}

#[test]
fn politeness_counts_ways_and_not_words() {
    let polite = |text: &str| Measure::Politeness.of(text);
    assert_eq!(polite("Hello, and thank you. Could you stir it, please? We might wait."), 6.0);
    assert_eq!(polite("Thank you, thanks, I appreciate it."), 1.0, "one way, said thrice");
    assert_eq!(polite("Why do you ask? In fact it is obvious."), -2.0);
    // Whole words: "this" greets nobody, "weather" is not "we".
    assert_eq!(polite("This weather is mighty."), 0.0);
    assert_eq!(polite(""), 0.0);
}
