//! Statistics, costs and measures.

use tureen_trainer::annotate::{Annotator, Choice, Comparison, Measures};
use tureen_trainer::evaluation::{bootstrap, clustered_bootstrap, costs, spearman};
use tureen_trainer::reward::Measure;

#[track_caller]
fn near(ours: f64, expected: f64) {
    assert!((ours - expected).abs() < 1e-9, "{ours} instead of {expected}");
}

#[test]
fn ranks_correlate_as_spearman_says() {
    near(spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[-3.0, 0.0, 0.1, 7.0, 900.0]), 1.0);
    near(spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[5.0, 4.0, 3.0, 2.0, 1.0]), -1.0);
    // One swap of neighbours: 1 - 6 (1 + 1) / (5 . 24).
    near(spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[1.0, 3.0, 2.0, 4.0, 5.0]), 0.9);
    // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 . 5).
    near(spearman(&[1.0, 2.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]), 4.5 / 22.5f64.sqrt());
    near(spearman(&[1.0, 2.0, 3.0], &[7.0, 7.0, 7.0]), 0.0);
}

#[test]
fn intervals_hold_the_mean_and_narrow_with_more_values() {
    // Half ones, half zeros: the mean of n values has deviation .5 / sqrt(n), and 95 % lie within 1.96 of those.
    for count in [64, 1024] {
        let values: Vec<f64> = (0..count).map(|i| f64::from(i % 2)).collect();
        let estimate = bootstrap(&values, 4000, 3);
        let half = 1.96 * 0.5 / f64::from(count).sqrt();
        near(estimate.mean, 0.5);
        assert!((estimate.low - (0.5 - half)).abs() < 0.15 * half, "{estimate:?}, {half}");
        assert!((estimate.high - (0.5 + half)).abs() < 0.15 * half, "{estimate:?}, {half}");
        assert_eq!(bootstrap(&values, 4000, 3), estimate);
    }
    let constant = bootstrap(&[0.25; 10], 500, 1);
    assert_eq!((constant.low, constant.high), (0.25, 0.25));
}

#[test]
fn answers_to_one_prompt_are_resampled_together() {
    // Of two prompts one or the other is drawn twice in a quarter of the resamples each: the ends are both prompts' means.
    let estimate = clustered_bootstrap(&[vec![1.0, 1.0, 0.5, 0.5], vec![0.0, 0.5, 0.0, 0.0]], 1000, 5);
    assert_eq!((estimate.low, estimate.high), (0.125, 0.75));
    near(estimate.mean, (0.75 + 0.125) / 2.0);
    // Four equal answers to each prompt are no more evidence than one: the mean of 64 prompts has deviation .5 / 8.
    let clusters: Vec<Vec<f64>> = (0..64).map(|i| vec![f64::from(i % 2); 4]).collect();
    let single: Vec<f64> = clusters.iter().map(|values| values[0]).collect();
    assert_eq!(clustered_bootstrap(&clusters, 4000, 3), bootstrap(&single, 4000, 3));
    let half = 1.96 * 0.5 / 8.0;
    let estimate = clustered_bootstrap(&clusters, 4000, 3);
    assert!((estimate.high - estimate.low - 2.0 * half).abs() < 0.3 * half, "{estimate:?}, {half}");
    // Where prompts do not differ, nor do the resamples, however much the answers do.
    let alike = clustered_bootstrap(&vec![vec![0.0, 1.0, 1.0, 0.0]; 10], 500, 1);
    assert_eq!((alike.mean, alike.low, alike.high), (0.5, 0.5, 0.5));
}

#[test]
fn soups_cost_a_policy_a_preference_and_combinations_double() {
    let rows = costs(0.5);
    for (row, next) in rows.iter().zip(&rows[1..]) {
        near(next.soups - row.soups, 2.0 * 0.5);
        near(next.one_per_combination, 2.0 * row.one_per_combination);
    }
    let three = rows.iter().find(|row| row.preferences == 6).unwrap();
    assert_eq!(three.combinations, 8);
    near(three.soups, 3.0);
    near(three.one_per_combination, 4.0);
}

#[test]
fn measures_are_those_of_their_authors() {
    // 8 words of 26 letters in 2 sentences: .0588 . 325 - .296 . 25 - 15.8.
    near(Measure::ColemanLiau.of("The cat sat here. Then it went out."), 0.0588 * 325.0 - 0.296 * 25.0 - 15.8);
    // The example in the README of VADER's authors.
    let sentiment = Measure::Sentiment.of("VADER is smart, handsome, and funny.");
    assert!((sentiment - 0.8316).abs() < 5e-5, "{sentiment}");
    near(Measure::Words.of("one two, three"), 3.0);
    near(Measure::ContentWords.of("The cat and the other cat saw a dog."), 3.0);
    // zlib.compressobj(9, zlib.DEFLATED, -15) of Python gives the same.
    near(Measure::CompressedBytes.of("The cat sat here."), 17.0);
    assert!(Measure::CompressedBytes.of(&"The cat sat here. ".repeat(20)) < 40.0);
}

#[test]
fn a_measure_prefers_within_its_margin_and_never_what_is_no_answer() {
    let mut measures = Measures { measure: Measure::Words, higher: false, margin: 2.0 };
    let prompt = [];
    let long = "Plants make food from light in their leaves. Roots drink water from soil, and air brings the rest of what they need.";
    let short = "Plants make food from light in their leaves. Roots drink water from soil, and air brings the rest.";
    let shorter = short.replace("water ", "");
    let mut choice =
        |first, second| measures.compare(Comparison { prompt: &prompt, answers: [first, second] }).unwrap();
    assert_eq!(choice(long, short), Choice::Second);
    assert_eq!(choice(short, long), Choice::First);
    assert_eq!(choice(short, &shorter), Choice::Tie);
    // Two words are fewer still, and no answer.
    assert_eq!(choice("Yes.", long), Choice::Second);
    assert_eq!(choice("Yes.", "No no."), Choice::Tie);
}
