//! Drafts change how long an answer takes and nothing else.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tureen_engine::{Engine, EngineOptions, Event, FinishReason, PathChoice, Precision, SamplingParams, Submission};
use tureen_soup::Method;

use crate::common::{Fixture, events, options, sampled, until};

/// Tokens that answers are made of, and the end of an answer among them.
const WORDS: [u32; 5] = [70, 71, 72, 73, 2];

fn plain() -> EngineOptions {
    EngineOptions { speculation: false, max_batch_rows: 1, ..options() }
}

/// What a request is made of.
#[derive(Debug, Clone)]
struct Asked {
    soup: usize,
    /// What the prompt repeats, and how often.
    period: Vec<usize>,
    turns: usize,
    /// How much likelier the words are than all other tokens.
    bias: f32,
    temperature: f32,
    penalty: f32,
    /// `top_k` and `top_p`
    filter: (usize, f32),
    answer: usize,
    seed: u64,
    /// Words that end it.
    stop: Vec<usize>,
    ignore_eos: bool,
}

fn asked() -> impl Strategy<Value = Asked> {
    let choice = (
        prop_oneof![Just(0.0_f32), Just(0.3), Just(1.0)],
        prop_oneof![3 => Just(1.0_f32), 1 => Just(1.02)],
        prop_oneof![Just((0, 1.0_f32)), Just((3, 1.0)), Just((0, 0.7))],
    );
    let shape = (0..4_usize, prop::collection::vec(0..WORDS.len(), 1..6), 1..12_usize, 1..70_usize);
    let ends = (prop::collection::vec(0..4_usize, 0..3), any::<bool>());
    (shape, choice, prop_oneof![1 => Just(0.0_f32), 3 => Just(12.0)], any::<u64>(), ends).prop_map(
        |((soup, period, turns, answer), (temperature, penalty, filter), bias, seed, (stop, ignore_eos))| Asked {
            soup,
            period,
            turns,
            bias,
            temperature,
            penalty,
            filter,
            answer,
            seed,
            stop,
            ignore_eos,
        },
    )
}

fn submission(fixture: &Fixture, asked: &Asked) -> Submission {
    let (soup, path) = match asked.soup {
        0 => (fixture.soup("", Method::Exact), PathChoice::Auto),
        1 => (fixture.soup("concise=0.5,expert=0.5", Method::Exact), PathChoice::Gate),
        2 => (fixture.soup("concise=0.2,friendly=0.8", Method::Factor), PathChoice::Gate),
        _ => (fixture.soup("concise=0.5,expert=0.5", Method::Exact), PathChoice::Materialised),
    };
    let period: Vec<u32> = asked.period.iter().map(|word| WORDS[*word]).collect();
    let text = |word: &usize| fixture.checkpoint.tokenizer().decode(&[WORDS[*word]]);
    let params = SamplingParams {
        max_new_tokens: asked.answer,
        temperature: asked.temperature,
        top_k: asked.filter.0,
        top_p: asked.filter.1,
        repetition_penalty: asked.penalty,
        seed: asked.seed,
        stop: Some(asked.stop.iter().map(text).collect())
            .filter(|stop: &String| !stop.is_empty())
            .into_iter()
            .collect(),
        ignore_eos: asked.ignore_eos,
        logit_bias: WORDS.map(|word| (word, asked.bias)).to_vec(),
        ..SamplingParams::default()
    };
    Submission { path, ..fixture.submission(&period.repeat(asked.turns), &soup, params) }
}

fn answer(engine: &Engine, submission: Submission) -> Vec<Event> {
    events(engine.submit(submission).unwrap())
}

#[test]
fn answers_are_the_same_with_and_without_drafts() {
    let fixture = Fixture::new();
    assert_eq!(fixture.checkpoint.config().eos_token_ids, [WORDS[4]]);
    for precision in [Precision::F32, Precision::Int8] {
        let plain = fixture.engine_with(EngineOptions { precision, ..plain() });
        let alone = fixture.engine_with(EngineOptions { precision, max_batch_rows: 1, ..options() });
        let batched = fixture.engine_with(EngineOptions { precision, prefill_chunk: 11, ..options() });
        let reasons = RefCell::new(Vec::new());
        let same = |all: Vec<Asked>| {
            let submissions = || all.iter().map(|asked| submission(&fixture, asked));
            let wanted: Vec<_> = submissions().map(|s| answer(&plain, s)).collect();
            let running: Vec<_> = submissions().map(|s| batched.submit(s).unwrap()).collect();
            let together: Vec<_> = running.into_iter().map(events).collect();
            prop_assert_eq!(&together, &wanted);
            prop_assert_eq!(&answer(&alone, submissions().next().unwrap()), &wanted[0]);
            reasons.borrow_mut().extend(wanted.iter().filter_map(|events| match events.last() {
                Some(Event::Finished { reason, .. }) => Some(*reason),
                _ => None,
            }));
            Ok(())
        };
        let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
        runner.run(&prop::collection::vec(asked(), 1..7), same).unwrap();
        let reasons = reasons.into_inner();
        for reason in [FinishReason::Length, FinishReason::EosToken, FinishReason::StopSequence] {
            let count = reasons.iter().filter(|r| **r == reason).count();
            assert!(count > 5, "{precision}: {count} of {} answers ended by {reason:?}", reasons.len());
        }
        assert_eq!(plain.stats().drafted_tokens, 0);
        for engine in [alone, batched] {
            let stats = engine.stats();
            assert!(0 < stats.accepted_tokens && stats.accepted_tokens < stats.drafted_tokens, "{stats:?}");
        }
    }
}

#[test]
fn a_text_that_repeats_itself_takes_fewer_steps() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let soup = fixture.soup("", Method::Exact);
    // One word after the other, whatever the model thinks.
    let params = SamplingParams { logit_bias: vec![(70, 1000.0)], ..sampled(1, 100) };
    answer(&engine, fixture.submission(&[70; 8], &soup, params));
    // The answer ends within its last step, which is counted when it ends.
    until(&engine, "the last step is counted", |s| s.running == 0);
    let stats = engine.stats();
    assert_eq!((stats.decode_tokens, stats.accepted_tokens), (100, stats.drafted_tokens), "{stats:?}");
    assert!(stats.steps < 20, "{stats:?}");
    assert_eq!(stats.decode_tokens, stats.steps + stats.accepted_tokens, "{stats:?}");
}

#[test]
fn sequences_that_are_sent_back_go_on_with_their_drafts() {
    let fixture = Fixture::new();
    let page = 16 * 2 * 2 * 2 * 16 * 4;
    let plain = fixture.engine_with(plain());
    for prefix_cache in [u64::MAX, 0] {
        let budget = EngineOptions { memory_budget: 12 * page, prefix_cache, max_waiting: 100, ..options() };
        let tight = fixture.engine_with(EngineOptions { max_batch_rows: 4, prefill_chunk: 20, ..budget });
        let asked = |i: usize| Asked {
            soup: i % 3,
            period: vec![0, 1, 2, i % 4],
            turns: 3 + i % 5,
            bias: 12.0,
            temperature: 0.3,
            penalty: 1.0,
            filter: (0, 1.0),
            answer: 120,
            seed: i as u64,
            stop: Vec::new(),
            ignore_eos: true,
        };
        let submissions = || (0..12).map(|i| submission(&fixture, &asked(i)));
        let running: Vec<_> = submissions().map(|s| tight.submit(s).unwrap()).collect();
        for (generation, submission) in running.into_iter().zip(submissions()) {
            assert_eq!(events(generation), answer(&plain, submission));
        }
        let stats = tight.stats();
        assert!(stats.preemptions > 0 && stats.accepted_tokens > 0, "{stats:?}");
        assert!(stats.memory_used_bytes <= 12 * page);
    }
}
