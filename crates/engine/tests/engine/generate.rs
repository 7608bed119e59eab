//! One generation: tokens, text, ends.

use picollama::{Base, PolicySpec};
use tureen_engine::{EngineOptions, Event, FinishReason, SamplingParams, SubmitError};
use tureen_soup::{MergeOptions, Method};

use crate::common::{Fixture, events, options, prompt, refused, run, sampled, tokens, until};
use crate::oracle;

fn greedy(max_new_tokens: usize) -> SamplingParams {
    SamplingParams { max_new_tokens, ignore_eos: true, ..SamplingParams::default() }
}

fn ids(events: &[Event]) -> Vec<u32> {
    let id = |e: &Event| match e {
        Event::Token { id, .. } => Some(*id),
        _ => None,
    };
    events.iter().filter_map(id).collect()
}

fn text(events: &[Event]) -> String {
    let part = |e: &Event| match e {
        Event::Token { text, .. } | Event::Finished { text, .. } => text.clone(),
        Event::Failed(error) => panic!("{error}"),
    };
    events.iter().map(part).collect()
}

fn reason(events: &[Event]) -> FinishReason {
    match events.last() {
        Some(Event::Finished { reason, .. }) => *reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn greedy_takes_the_likeliest_token_of_the_oracle() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let soup = fixture.soup("concise=0.5,expert=0.2,friendly=0.3", Method::Exact);
    let start = prompt(10, 1);
    let events = events(engine.submit(fixture.submission(&start, &soup, greedy(8))).unwrap());
    let generated = ids(&events);
    let dense = oracle::exact(&fixture.base, &fixture.pool_dir(), &fixture.specs, &[0.5, 0.2, 0.3], 1.0);
    let mut tokens = start;
    for (id, event) in generated.iter().zip(&events) {
        let logits = oracle::logits(&fixture.base, &dense, &tokens).pop().unwrap();
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        assert_eq!(*id, best as u32);
        let Event::Token { logprob, .. } = event else { panic!("{event:?}") };
        let total: f64 = logits.iter().map(|l| l.exp()).sum();
        assert!((f64::from(*logprob) - (logits[best] - total.ln())).abs() < 1e-4);
        tokens.push(*id);
    }
    assert_eq!(generated.len(), 8);
    let Some(Event::Finished { prompt_tokens, generated_tokens, reason, .. }) = events.last() else { panic!() };
    assert_eq!((*prompt_tokens, *generated_tokens, *reason), (10, 8, FinishReason::Length));
}

#[test]
fn the_texts_of_all_events_are_the_decoded_answer() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    for seed in 0..20 {
        let soup = fixture.soup("friendly=1", Method::Exact);
        let params = SamplingParams { temperature: 3.0, ..sampled(seed, 30) };
        let events = events(engine.submit(fixture.submission(&prompt(5, 2), &soup, params)).unwrap());
        assert_eq!(text(&events), fixture.checkpoint.tokenizer().decode(&ids(&events)));
    }
}

#[test]
fn seeds_repeat_and_differ() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let soup = fixture.soup("friendly=1", Method::Exact);
    let go = |seed| run(&engine, fixture.submission(&prompt(5, 3), &soup, sampled(seed, 20)));
    assert_eq!(go(1), go(1));
    assert_ne!(go(1), go(2));
}

#[test]
fn a_stop_sequence_ends_the_answer_and_is_not_part_of_it() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let soup = fixture.soup("friendly=1", Method::Exact);
    // Find an answer with plain text in its middle to stop at.
    let (params, whole, stop) = (0..200)
        .find_map(|seed| {
            let params = SamplingParams { temperature: 2.0, ..sampled(seed, 24) };
            let events = events(engine.submit(fixture.submission(&prompt(5, 4), &soup, params.clone())).unwrap());
            let whole = text(&events);
            let middle: Vec<char> = whole.chars().skip(6).take(3).collect();
            let plain = middle.len() == 3 && middle.iter().all(char::is_ascii);
            plain.then(|| (params, whole.clone(), middle.into_iter().collect::<String>()))
        })
        .expect("one of 200 answers has three ASCII characters there");
    let params = SamplingParams { stop: vec!["never in it".into(), stop.clone()], ..params };
    let events = events(engine.submit(fixture.submission(&prompt(5, 4), &soup, params)).unwrap());
    assert_eq!(reason(&events), FinishReason::StopSequence);
    assert_eq!(text(&events), whole[..whole.find(&stop).unwrap()]);
}

#[test]
fn an_end_of_sequence_token_ends_the_answer() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let eos = fixture.checkpoint.config().eos_token_ids[0];
    let soup = fixture.soup("", Method::Exact);
    let params = SamplingParams { logit_bias: vec![(eos, 100.0)], max_new_tokens: 9, ..SamplingParams::default() };
    let events = events(engine.submit(fixture.submission(&prompt(5, 5), &soup, params.clone())).unwrap());
    assert_eq!((ids(&events), reason(&events)), (vec![eos], FinishReason::EosToken));
    assert_eq!(text(&events), "");
    let params = SamplingParams { ignore_eos: true, ..params };
    let events = crate::common::events(engine.submit(fixture.submission(&prompt(5, 5), &soup, params)).unwrap());
    assert_eq!((ids(&events).len(), reason(&events)), (9, FinishReason::Length));
}

#[test]
fn what_does_not_fit_is_refused_at_once() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let soup = fixture.soup("", Method::Exact);
    let too_long = engine.submit(fixture.submission(&prompt(250, 1), &soup, greedy(7)));
    assert_eq!(refused(too_long), SubmitError::PromptTooLong { tokens: 257, context: 256 });
    assert!(engine.submit(fixture.submission(&[], &soup, greedy(7))).is_err());
    let unknown = [1, u32::MAX];
    assert!(engine.submit(fixture.submission(&unknown, &soup, greedy(7))).is_err(), "no such token");
    assert!(engine.logits(&soup, tureen_engine::PathChoice::Auto, &unknown).is_err());
    run(&engine, fixture.submission(&prompt(249, 1), &soup, greedy(7)));
}

#[test]
fn a_full_queue_refuses() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(EngineOptions { max_batch_rows: 1, max_waiting: 2, ..options() });
    let soup = fixture.soup("", Method::Exact);
    let submit = || engine.submit(fixture.submission(&prompt(5, 1), &soup, greedy(200)));
    let taken: Vec<_> = (0..3).map(|_| submit().unwrap()).collect();
    assert_eq!(refused(submit()), SubmitError::QueueFull);
    drop(taken);
    until(&engine, "places come back", |s| s.running + s.waiting == 0);
    run(&engine, fixture.submission(&prompt(5, 1), &soup, greedy(3)));
}

#[test]
fn a_thousand_clients_that_leave_cost_nothing() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(EngineOptions { max_batch_rows: 8, prefix_cache: 0, ..options() });
    let soups: Vec<_> = (1..8)
        .map(|i| {
            let method = if i % 3 == 0 { Method::Ties } else { Method::Exact };
            fixture.soup(&format!("concise={i},friendly=1"), method)
        })
        .collect();
    for i in 0..1000_usize {
        let soup = &soups[i % soups.len()];
        let Ok(mut generation) = engine.submit(fixture.submission(&prompt(4 + i % 60, 1), soup, greedy(150))) else {
            continue;
        };
        // Some leave at once, some after a few tokens.
        for _ in 0..i % 4 {
            generation.blocking_next();
        }
    }
    until(&engine, "rows are gone", |s| s.running + s.waiting == 0);
    until(&engine, "KV memory is back", |s| s.kv_cache_bytes == 0);
    until(&engine, "only cached soups hold memory", |s| s.memory_used_bytes >= s.soup_cache_bytes);
    let stats = engine.stats();
    assert!(stats.memory_used_bytes <= stats.soup_cache_bytes + 1024 * stats.soup_cache_entries, "{stats:?}");
}

#[test]
fn shutdown_ends_every_generation_with_an_error() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(EngineOptions { max_batch_rows: 1, ..options() });
    let soup = fixture.soup_with("", MergeOptions::default());
    let open: Vec<_> =
        (0..3).map(|_| engine.submit(fixture.submission(&prompt(5, 1), &soup, greedy(200))).unwrap()).collect();
    engine.shutdown();
    for generation in open {
        let last = events(generation).pop().unwrap();
        assert!(matches!(&last, Event::Failed(e) if e.code() == "shutting_down"), "{last:?}");
    }
    assert!(!engine.is_healthy());
    let late = engine.submit(fixture.submission(&prompt(5, 1), &soup, greedy(2)));
    assert_eq!(refused(late), SubmitError::ShuttingDown);
}

#[test]
fn logits_that_are_no_numbers_end_their_row_alone() {
    // The first is finite and overflows in a sum, the second is beyond f32 once scaled.
    let overflowing = PolicySpec { amplitude: 3e38, rank: 8, alpha: 8.0, ..PolicySpec::lora("friendly") };
    let huge = PolicySpec { amplitude: 1e35, alpha: 1e5, ..PolicySpec::lora("sassy") };
    let fixture = Fixture::of(Base::llama(), vec![PolicySpec::lora("concise"), overflowing, huge]);
    let engine = fixture.engine();
    let soups = ["concise=1", "friendly=1", "sassy=1"].map(|wish| fixture.soup(wish, Method::Exact));
    let [sound, broken, unmergeable] = &soups;
    let alone = run(&engine, fixture.submission(&prompt(5, 1), sound, sampled(1, 30)));
    let beside = engine.submit(fixture.submission(&prompt(5, 1), sound, sampled(1, 30))).unwrap();
    for (soup, code) in [(broken, "logits_not_finite"), (unmergeable, "merge_failed")] {
        let failing = engine.submit(fixture.submission(&prompt(5, 1), soup, sampled(1, 30))).unwrap();
        let last = events(failing).pop().unwrap();
        assert!(matches!(&last, Event::Failed(e) if e.code() == code), "{last:?}");
    }
    assert_eq!(tokens(beside), alone);
}
