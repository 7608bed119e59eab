//! Every preference in one batch, and none of them notices.

use tureen_engine::{EngineOptions, PathChoice};
use tureen_soup::{MergeOptions, Method};

use crate::common::{Fixture, options, prompt, run, sampled, tokens};

/// Sixteen different soups: the base, both gate methods, merged ones.
fn wishes() -> Vec<(String, Method)> {
    let mut wishes = vec![(String::new(), Method::Exact)];
    for i in 1..16_u32 {
        let (a, b) = (f64::from(i) / 20.0, f64::from(i % 5) / 10.0);
        let method = match i % 5 {
            0 => Method::Ties,
            1 => Method::Factor,
            _ => Method::Exact,
        };
        wishes.push((format!("concise={a},expert={b},friendly=0.3"), method));
    }
    wishes
}

#[test]
fn sixteen_preferences_together_give_the_same_bits_as_each_alone() {
    let fixture = Fixture::new();
    let together = fixture.engine();
    let requests: Vec<_> = wishes()
        .iter()
        .enumerate()
        .map(|(i, (wish, method))| {
            let soup = fixture.soup(wish, *method);
            // Prompts of different lengths: some are still in prefill while others decode.
            fixture.submission(&prompt(3 + 11 * i, i as u32), &soup, sampled(i as u64, 12))
        })
        .collect();
    let running: Vec<_> = requests.iter().map(|r| together.submit(r.clone()).unwrap()).collect();
    let batched: Vec<_> = running.into_iter().map(tokens).collect();
    for options in [EngineOptions::default(), EngineOptions { prefill_chunk: 5, max_batch_rows: 1, ..options() }] {
        let alone = fixture.engine_with(options);
        for (request, batched) in requests.iter().zip(&batched) {
            assert_eq!(run(&alone, request.clone()), *batched, "{:?}", request.soup.options());
        }
    }
}

#[test]
fn a_full_batch_and_a_queue_all_get_their_answers() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(EngineOptions { max_batch_rows: 3, max_waiting: 40, ..options() });
    let soup = fixture.soup("concise=1", Method::Exact);
    let one = run(&engine, fixture.submission(&prompt(8, 1), &soup, sampled(1, 9)));
    let many: Vec<_> =
        (0..40).map(|_| engine.submit(fixture.submission(&prompt(8, 1), &soup, sampled(1, 9))).unwrap()).collect();
    for generation in many {
        assert_eq!(tokens(generation), one);
    }
}

#[test]
fn materialised_and_gate_choose_the_same_tokens_here() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let soup = fixture.soup_with("concise=0.7,friendly=0.3", MergeOptions::default());
    let submission = |path| {
        let mut submission = fixture.submission(&prompt(20, 9), &soup, sampled(4, 20));
        submission.path = path;
        submission
    };
    let ids = |path| -> Vec<u32> { run(&engine, submission(path)).iter().map(|t| t.0).collect() };
    assert_eq!(ids(PathChoice::Gate), ids(PathChoice::Materialised));
}
