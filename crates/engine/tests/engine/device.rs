//! What runs on a GPU, on candle's CPU device in f32: against the dense oracle, and against the CPU's own engine.

use picollama::{Base, PolicySpec};
use tureen_engine::PathChoice::{Auto, Gate, Materialised};
use tureen_engine::{DeviceChoice, Engine, EngineOptions, Event, Fault, SamplingParams, SoupPath};
use tureen_soup::{MergeOptions, Method};

use crate::common::{Fixture, events, options, prompt, sampled, until};
use crate::oracle;

const CLOSE: f64 = 1e-5;
const WISH: &str = "concise=0.5,expert=0.2,friendly=0.3";

fn twin(fixture: &Fixture, options: EngineOptions) -> Engine {
    fixture.engine_with(EngineOptions { device: DeviceChoice::Twin, ..options })
}

fn failing(fixture: &Fixture, fault: Fault) -> Engine {
    fixture.engine_with(EngineOptions { device: DeviceChoice::Failing(fault), ..options() })
}

/// Why a generation broke off.
fn code(events: &[Event]) -> Option<&'static str> {
    match events.last() {
        Some(Event::Failed(error)) => Some(error.code()),
        _ => None,
    }
}

fn greedy(max_new_tokens: usize) -> SamplingParams {
    SamplingParams { max_new_tokens, ignore_eos: true, ..SamplingParams::default() }
}

/// All that a sampler knows.
fn filtered(seed: u64, max_new_tokens: usize) -> SamplingParams {
    SamplingParams {
        top_k: 50,
        top_p: 0.9,
        min_p: 0.01,
        repetition_penalty: 1.2,
        logit_bias: vec![(7, 2.0), (11, -100.0)],
        ..sampled(seed, max_new_tokens)
    }
}

/// Tokens and log-probabilities.
fn answer(events: &[Event]) -> Vec<(u32, f32)> {
    assert!(matches!(events.last(), Some(Event::Finished { .. })), "{events:?}");
    let token = |event: &Event| match event {
        Event::Token { id, logprob, .. } => Some((*id, *logprob)),
        _ => None,
    };
    events.iter().filter_map(token).collect()
}

fn assert_same(ours: &[(u32, f32)], expected: &[(u32, f32)], what: &str) {
    let ids = |answer: &[(u32, f32)]| answer.iter().map(|(id, _)| *id).collect::<Vec<_>>();
    assert_eq!(ids(ours), ids(expected), "{what}");
    for ((_, ours), (_, expected)) in ours.iter().zip(expected) {
        assert!((ours - expected).abs() < 1e-4, "{what}: {ours} is not {expected}");
    }
}

#[test]
fn bases_agree_with_the_oracle() {
    for base in [Base::llama(), Base::qwen2(), Base { tie: false, kv_heads: 4, ..Base::llama() }] {
        let fixture = Fixture::of(base, vec![PolicySpec::lora("concise")]);
        let tokens = prompt(90, 1);
        let soup = fixture.soup_with("", MergeOptions::default());
        let got = twin(&fixture, options()).logits(&soup, Auto, &tokens).unwrap();
        let wanted = oracle::logits(&fixture.base, &oracle::tensors(&fixture.base), &tokens);
        let error = oracle::error(&got, &wanted);
        assert!(error < CLOSE, "{error}");
    }
}

#[test]
fn soups_agree_with_the_oracle_on_both_paths() {
    let fixture = Fixture::new();
    let engine = twin(&fixture, options());
    let tokens = prompt(40, 2);
    let weights = [0.5, 0.2, 0.3];
    for method in [Method::Exact, Method::Factor] {
        for strength in [1.0, 2.5] {
            let soup = fixture.soup_with(WISH, MergeOptions { method, strength, ..MergeOptions::default() });
            let dense = match method {
                Method::Exact => oracle::exact,
                _ => oracle::factor,
            };
            let dense = dense(&fixture.base, &fixture.pool_dir(), &fixture.specs, &weights, strength);
            let wanted = oracle::logits(&fixture.base, &dense, &tokens);
            for path in [Gate, Materialised] {
                let error = oracle::error(&engine.logits(&soup, path, &tokens).unwrap(), &wanted);
                assert!(error < CLOSE, "{method} {path:?}: {error}");
            }
        }
    }
}

/// Gates of both methods, the base, and merged weights of a method that no gate serves, in one batch; some prompts are read
/// while others decode. Each as if it were alone, and as the CPU's kernels have it.
#[test]
fn different_soups_in_one_batch_are_each_as_they_are_alone() {
    let fixture = Fixture::new();
    let wishes = (0..12_u32).map(|i| match i % 4 {
        0 => (String::new(), Method::Exact),
        1 => (format!("concise=0.{i},expert=0.3,friendly=0.2"), Method::Exact),
        2 => (format!("concise=0.3,friendly=0.{i}"), Method::Factor),
        _ => ("concise=0.6,friendly=0.4".to_owned(), Method::Ties),
    });
    let requests = wishes.enumerate().map(|(i, (wish, method))| {
        let soup = fixture.soup(&wish, method);
        let params = match i % 3 {
            0 => greedy(10),
            1 => sampled(7, 10),
            _ => filtered(i as u64, 10),
        };
        fixture.submission(&prompt(3 + 13 * i, i as u32), &soup, params)
    });
    let requests: Vec<_> = requests.collect();
    let together = twin(&fixture, options());
    let running: Vec<_> = requests.iter().map(|r| together.submit(r.clone()).unwrap()).collect();
    let batched: Vec<_> = running.into_iter().map(|generation| answer(&events(generation))).collect();
    let alone = twin(&fixture, EngineOptions { max_batch_rows: 1, prefill_chunk: 5, ..options() });
    let cpu = fixture.engine();
    for (request, batched) in requests.iter().zip(&batched) {
        let what = format!("{:?}", request.soup.options());
        for engine in [&alone, &cpu] {
            let single = answer(&events(engine.submit(request.clone()).unwrap()));
            assert_same(batched, &single, &what);
        }
    }
}

#[test]
fn full_weight_policies_are_served() {
    let specs = vec![PolicySpec::full("expert"), PolicySpec { seed: 5, ..PolicySpec::full("friendly") }];
    for base in [Base::llama(), Base::qwen2()] {
        let fixture = Fixture::of(base, specs.clone());
        let soup = fixture.soup("expert=0.25,friendly=0.75", Method::Linear);
        let request = fixture.submission(&prompt(12, 5), &soup, greedy(6));
        let engine = twin(&fixture, options());
        let generation = engine.submit(request.clone()).unwrap();
        assert_eq!(generation.path(), SoupPath::Materialised);
        let ours = answer(&events(generation));
        assert_same(&ours, &answer(&events(fixture.engine().submit(request).unwrap())), "linear");
    }
}

/// Pages go from hand to hand, prefixes are found, sequences give theirs up and compute them again.
#[test]
fn answers_do_not_depend_on_who_had_the_pages_before() {
    let fixture = Fixture::new();
    let soup = fixture.soup(WISH, Method::Exact);
    let request = |seed| fixture.submission(&prompt(70, seed), &soup, greedy(60));
    let expected: Vec<_> =
        (0..4).map(|seed| answer(&events(fixture.engine().submit(request(seed)).unwrap()))).collect();
    // Three requests at the most have room at once, once they are long.
    let budget = 25 * 2 * 2 * 2 * 16 * 16 * 4;
    let engine = twin(&fixture, EngineOptions { memory_budget: budget, ..options() });
    for _ in 0..2 {
        let running: Vec<_> = (0..4).map(|seed| engine.submit(request(seed)).unwrap()).collect();
        for (generation, expected) in running.into_iter().zip(&expected) {
            assert_same(&answer(&events(generation)), expected, "with few pages");
        }
    }
    assert!(engine.stats().preemptions > 0, "{:?}", engine.stats());
    assert!(engine.stats().prefix_hit_tokens > 0, "{:?}", engine.stats());
    until(&engine, "pages come back", |stats| stats.running == 0);
}

/// The draft's rows see each other in their order.
#[test]
fn drafts_change_no_answer() {
    let fixture = Fixture::new();
    let soup = fixture.soup(WISH, Method::Exact);
    let repeated: Vec<u32> = std::iter::repeat_n(prompt(7, 3), 6).flatten().collect();
    // So sure of itself that it repeats what it was told.
    let sure = SamplingParams { temperature: 0.05, repetition_penalty: 0.9, ..filtered(3, 40) };
    for params in [greedy(40), sure] {
        let request = fixture.submission(&repeated, &soup, params);
        let run = |speculation| {
            let engine = twin(&fixture, EngineOptions { speculation, ..options() });
            let answer = answer(&events(engine.submit(request.clone()).unwrap()));
            (answer, engine.stats())
        };
        let ((with, stats), (without, none)) = (run(true), run(false));
        assert!(stats.drafted_tokens > 0 && stats.accepted_tokens > 0 && none.drafted_tokens == 0, "{stats:?}");
        assert_same(&with, &without, "drafts");
    }
}

#[test]
fn scores_are_those_of_the_cpu() {
    let fixture = Fixture::new();
    let soups = vec![fixture.soup_with("", MergeOptions::default()), fixture.soup(WISH, Method::Exact)];
    let text = || tureen_engine::Text {
        prompt: prompt(9, 1),
        answer: prompt(20, 2),
        pool: fixture.pool.clone(),
        soups: soups.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let [ours, expected] =
        [twin(&fixture, options()), fixture.engine()].map(|engine| runtime.block_on(engine.score(text())).unwrap());
    for (ours, expected) in ours.iter().flatten().flatten().zip(expected.iter().flatten().flatten()) {
        assert!((ours - expected).abs() < 1e-4, "{ours} is not {expected}");
    }
}

/// In a step of two requests, and in a score.
#[test]
fn a_step_that_fails_ends_its_requests_and_no_others() {
    let fixture = Fixture::new();
    let soup = fixture.soup(WISH, Method::Exact);
    let request = |seed| fixture.submission(&prompt(9, seed), &soup, greedy(6));
    let expected = answer(&events(fixture.engine().submit(request(1)).unwrap()));
    let engine = failing(&fixture, Fault::Error { at: 3 });
    let running = [1, 2].map(|seed| engine.submit(request(seed)).unwrap());
    let ended: Vec<_> = running.into_iter().map(|generation| code(&events(generation))).collect();
    assert!(ended.contains(&Some("device_failed")), "{ended:?}");
    assert_same(&answer(&events(engine.submit(request(1)).unwrap())), &expected, "after a failure");
    assert!(engine.is_healthy());
}

#[test]
fn a_lost_device_ends_the_engine_and_everything_that_it_owes() {
    let fixture = Fixture::new();
    let soup = fixture.soup(WISH, Method::Exact);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let engine = failing(&fixture, Fault::Lost { at: 4 });
    // More than run at once.
    let running = (0..40).map(|seed| engine.submit(fixture.submission(&prompt(9, seed), &soup, greedy(6))));
    let running: Vec<_> = running.collect();
    let ended: Vec<_> = running.into_iter().flatten().map(|generation| code(&events(generation))).collect();
    assert!(ended.contains(&Some("device_failed")), "{ended:?}");
    assert!(ended.iter().all(|code| matches!(code, Some("device_failed" | "shutting_down"))), "{ended:?}");
    runtime.block_on(engine.ended());
    assert!(!engine.is_healthy());
    // Scores and logits find out, too.
    let engine = failing(&fixture, Fault::Lost { at: 1 });
    let text = tureen_engine::Text {
        prompt: prompt(9, 1),
        answer: prompt(20, 2),
        pool: fixture.pool.clone(),
        soups: vec![soup.clone()],
    };
    assert_eq!(runtime.block_on(engine.score(text)).unwrap_err().code(), "device_failed");
    runtime.block_on(engine.ended());
    let engine = failing(&fixture, Fault::Lost { at: 1 });
    assert_eq!(engine.logits(&soup, Gate, &prompt(9, 1)).unwrap_err().code(), "device_failed");
    runtime.block_on(engine.ended());
}
