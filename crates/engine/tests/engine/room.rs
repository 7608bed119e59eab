//! One memory budget: who waits, who gives way, and that everybody ends.

use tureen_engine::{EngineOptions, Event, PathChoice, Submission, SubmitError};
use tureen_soup::Method;

use crate::common::{Fixture, events, options, prompt, refused, run, sampled, tokens, until};

/// Bytes of 16 tokens in the KV cache of the tiny base: 2 layers, keys and values, 2 heads of 16, f32.
const PAGE: u64 = 16 * 2 * 2 * 2 * 16 * 4;

fn of_pages(pages: u64) -> EngineOptions {
    EngineOptions { memory_budget: pages * PAGE, max_waiting: 500, ..options() }
}

#[test]
fn a_sequence_that_can_never_fit_is_refused_with_the_sum() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(of_pages(6));
    let soup = fixture.soup("", Method::Exact);
    // The last token of an answer has no keys and values: 97 are 6 pages still.
    let submit = |length| engine.submit(fixture.submission(&prompt(length, 1), &soup, sampled(1, 30)));
    assert_eq!(refused(submit(68)), SubmitError::OutOfMemory { needed: 7 * PAGE, used: 0, budget: 6 * PAGE });
    assert_eq!(events(submit(67).unwrap()).len(), 31);
    // What does not fit now waits.
    let both = [submit(67).unwrap(), submit(66).unwrap()];
    assert!(both.map(|g| events(g).len()).iter().all(|n| *n == 31));
}

#[test]
fn sequences_that_are_sent_back_go_on_with_the_same_bits() {
    let fixture = Fixture::new();
    let roomy = fixture.engine();
    // Three of them fit when they begin, one when it ends.
    for prefix_cache in [u64::MAX, 0] {
        let tight = fixture.engine_with(EngineOptions { prefix_cache, prefill_chunk: 20, ..of_pages(14) });
        let requests: Vec<_> = (0..12_u32)
            .map(|i| {
                let wish = ["", "concise=1", "concise=0.3,expert=0.7"][i as usize % 3];
                let soup = fixture.soup(wish, Method::Exact);
                fixture.submission(&prompt(20 + 9 * i as usize % 50, i), &soup, sampled(i.into(), 150))
            })
            .collect();
        let running: Vec<_> = requests.iter().map(|r| tight.submit(r.clone()).unwrap()).collect();
        for (generation, request) in running.into_iter().zip(requests) {
            assert_eq!(tokens(generation), run(&roomy, request));
            assert!(tight.stats().memory_used_bytes <= 14 * PAGE);
        }
        let stats = tight.stats();
        assert!(stats.preemptions > 0, "{stats:?}");
        assert_eq!(stats.decode_tokens, 12 * 150, "no token is chosen twice");
    }
}

#[test]
fn merged_soups_that_others_wait_with_do_not_stop_who_runs() {
    let fixture = Fixture::new();
    let bytes = {
        let engine = fixture.engine();
        let soup = fixture.soup("concise=1", Method::Ties);
        run(&engine, fixture.submission(&prompt(5, 1), &soup, sampled(1, 1)));
        engine.stats().soup_cache_bytes
    };
    let budget = 15 * PAGE + bytes;
    let engine =
        fixture.engine_with(EngineOptions { memory_budget: budget, max_batch_rows: 2, max_waiting: 50, ..options() });
    let submit = |i: u32, method, length| {
        let soup = fixture.soup(&format!("concise={},friendly=1", i + 1), method);
        engine.submit(fixture.submission(&prompt(length, i), &soup, sampled(i.into(), 190))).unwrap()
    };
    // Each needs nearly all there is to end, and each merged soup waits with its weights in memory while it can.
    let all: Vec<_> =
        (0..8_u32).map(|i| submit(i, if i % 2 == 0 { Method::Exact } else { Method::Ties }, 40)).collect();
    for generation in all {
        assert_eq!(tokens(generation).len(), 190);
    }
    assert!(engine.stats().memory_used_bytes <= budget);
}

#[test]
fn whoever_asks_and_leaves_nobody_is_stuck() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(EngineOptions { prefix_cache: 0, max_batch_rows: 5, ..of_pages(20) });
    std::thread::scope(|scope| {
        for client in 0..6_u32 {
            let (fixture, engine) = (&fixture, &engine);
            scope.spawn(move || {
                for i in 0..25_u32 {
                    let method = if (i + client) % 3 == 0 { Method::Ties } else { Method::Exact };
                    let soup = fixture.soup(&format!("concise={},friendly=3", 1 + (i * client) % 7), method);
                    let length = 5 + ((i * 31 + client * 17) % 90) as usize;
                    let request = fixture.submission(&prompt(length, i), &soup, sampled(i.into(), 100));
                    let generation = engine.submit(Submission { client: client.into(), ..request });
                    // A soup that is larger than what is left beside the pages is refused.
                    let Ok(mut generation) = generation else { continue };
                    if i % 4 == 0 {
                        generation.blocking_next();
                        continue;
                    }
                    assert!(matches!(events(generation).last(), Some(Event::Finished { generated_tokens: 100, .. })));
                }
            });
        }
    });
    until(&engine, "everything comes back", |s| s.running + s.waiting == 0 && s.kv_cache_bytes == 0);
}

#[test]
fn a_soup_that_can_never_fit_is_refused_and_the_gate_goes_on() {
    let fixture = Fixture::new();
    let options = EngineOptions { promote_after: 1, prefix_cache: 0, ..of_pages(6) };
    let engine = fixture.engine_with(options);
    let merged = fixture.soup("concise=0.5,friendly=0.5", Method::Ties);
    let result = engine.submit(fixture.submission(&prompt(5, 1), &merged, sampled(1, 2)));
    assert!(matches!(refused(result), SubmitError::OutOfMemory { .. }));
    assert!(engine.logits(&merged, PathChoice::Auto, &[1]).is_err());
    let gated = fixture.soup("concise=0.5,friendly=0.5", Method::Exact);
    for _ in 0..3 {
        run(&engine, fixture.submission(&prompt(5, 1), &gated, sampled(1, 2)));
    }
    until(&engine, "nothing stays leased", |s| s.memory_used_bytes == 0);
}

#[test]
fn all_distinct_soups_stay_within_the_budget() {
    let fixture = Fixture::new();
    // Room for about three merged soups (q and v of two layers) beside the KV cache.
    let budget = 200 * 1024;
    let engine = fixture.engine_with(EngineOptions { memory_budget: budget, ..options() });
    for i in 1..60_u32 {
        let soup = fixture.soup(&format!("concise={i},friendly=7"), Method::Ties);
        let generation = engine.submit(fixture.submission(&prompt(5, i), &soup, sampled(1, 3))).unwrap();
        assert!(matches!(events(generation).last(), Some(Event::Finished { .. })));
        assert!(engine.stats().memory_used_bytes <= budget);
    }
    assert_eq!(engine.stats().merges, 59, "soups give way to new ones");
}
