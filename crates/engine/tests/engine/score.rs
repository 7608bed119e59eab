//! Scoring a finished text under many soups at once.

use std::sync::Arc;

use tureen_engine::{Engine, EngineOptions, GenerationError, PathChoice, Submission, SubmitError, Text};
use tureen_soup::{Method, Soup};

use crate::common::{Fixture, options, prompt, run, sampled, tokens, until};

const WISHES: [&str; 6] = ["", "concise=1", "expert=1", "friendly=1", "concise=0.3,friendly=0.7", ""];

fn soups(fixture: &Fixture) -> Vec<Arc<Soup>> {
    WISHES.iter().map(|wish| fixture.soup(wish, Method::Exact)).collect()
}

fn text(fixture: &Fixture, prompt: &[u32], answer: &[(u32, u32)]) -> Text {
    let answer = answer.iter().map(|(id, _)| *id).collect();
    Text { prompt: prompt.to_vec(), answer, pool: fixture.pool.clone(), soups: soups(fixture) }
}

fn score(engine: &Engine, text: Text) -> Result<Vec<Option<Vec<f32>>>, GenerationError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(engine.score(text))
}

fn bits(scores: &Option<Vec<f32>>) -> Vec<u32> {
    scores.as_ref().unwrap().iter().map(|score| score.to_bits()).collect()
}

fn gate(submission: Submission) -> Submission {
    Submission { path: PathChoice::Gate, ..submission }
}

#[test]
fn scores_are_what_generating_told_to_the_last_bit() {
    let fixture = Fixture::new();
    for chunk in [1, 7, 64] {
        let engine = fixture.engine_with(EngineOptions { prefill_chunk: chunk, ..options() });
        for (i, soup) in soups(&fixture).iter().enumerate() {
            let prompt = prompt(20, 3);
            let told = run(&engine, gate(fixture.submission(&prompt, soup, sampled(5, 19))));
            let scores = score(&engine, text(&fixture, &prompt, &told)).unwrap();
            let logprobs: Vec<u32> = told.iter().map(|(_, bits)| *bits).collect();
            assert_eq!(bits(&scores[i]), logprobs, "{} in pieces of {chunk}", WISHES[i]);
            assert_eq!(bits(&scores[0]), bits(&scores[5]), "a soup does not mind its neighbours");
        }
        assert_eq!((engine.stats().waiting, engine.stats().running), (0, 0));
    }
}

#[test]
fn running_requests_go_on_meanwhile_with_the_same_bits() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(EngineOptions { prefill_chunk: 6, ..options() });
    let soup = fixture.soup("expert=0.5,friendly=0.5", Method::Exact);
    let submission = |n: usize| fixture.submission(&prompt(9, 1), &soup, sampled(2, n));
    let answer = run(&engine, submission(100));
    let alone = score(&engine, text(&fixture, &prompt(9, 1), &answer)).unwrap();
    std::thread::scope(|scope| {
        let scoring = scope.spawn(|| score(&engine, text(&fixture, &prompt(9, 1), &answer)).unwrap());
        let running: Vec<_> = (0..4).map(|_| engine.submit(submission(100)).unwrap()).collect();
        running.into_iter().for_each(|generation| assert_eq!(tokens(generation), answer));
        assert_eq!(scoring.join().unwrap(), alone);
    });
}

#[test]
fn what_has_no_gate_is_left_out() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let soups = vec![fixture.soup("", Method::Exact), fixture.soup("concise=1", Method::Ties)];
    let text = Text { soups, ..text(&fixture, &prompt(5, 1), &[(1, 0), (2, 0)]) };
    let scores = score(&engine, text.clone()).unwrap();
    assert_eq!((scores[0].as_ref().map(Vec::len), &scores[1]), (Some(2), &None));
    let none = score(&engine, Text { soups: vec![text.soups[1].clone()], ..text.clone() }).unwrap();
    assert_eq!(none, [None]);
    let nothing = score(&engine, Text { answer: Vec::new(), ..text }).unwrap();
    assert_eq!(nothing, [Some(Vec::new()), None]);
}

#[test]
fn scoring_is_bounded_and_leaves_nothing() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(EngineOptions { memory_budget: 1 << 20, prefix_cache: 0, ..options() });
    let answer: Vec<_> = prompt(200, 2).into_iter().map(|id| (id, 0)).collect();
    let refused = |text: Text| score(&engine, text).unwrap_err().code();
    let large = text(&fixture, &prompt(40, 1), &answer);
    let many = large.soups.iter().cycle().take(600).cloned().collect();
    assert_eq!(refused(Text { soups: many, ..large.clone() }), "out_of_memory");
    assert_eq!(refused(Text { prompt: Vec::new(), ..large.clone() }), "prompt_too_long");
    assert_eq!(refused(Text { prompt: prompt(100, 1), ..large.clone() }), "prompt_too_long");
    assert_eq!(refused(Text { answer: vec![1 << 20], ..large.clone() }), "unknown_token");
    let full = fixture.engine_with(EngineOptions { max_batch_rows: 1, max_waiting: 0, ..options() });
    let soup = fixture.soup("concise=1", Method::Exact);
    let held = full.submit(fixture.submission(&prompt(9, 1), &soup, sampled(2, 200))).unwrap();
    assert!(matches!(score(&full, large.clone()), Err(GenerationError::Refused(SubmitError::QueueFull))));
    drop(held);
    until(&full, "the row is free", |stats| stats.running == 0 && stats.waiting == 0);
    // Whoever stops waiting stops the work.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, full.score(large)).await;
        assert!(waiting.is_err());
    });
    until(&full, "its place comes back", |stats| stats.waiting == 0);
    engine.shutdown();
    assert_eq!(score(&engine, text(&fixture, &prompt(4, 1), &answer[..3])).unwrap_err().code(), "shutting_down");
}
