//! Prompts that begin alike: computed once, and nobody's answer tells.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tureen_engine::{EngineOptions, PathChoice, Submission};
use tureen_soup::{MergeOptions, Method};

use crate::common::{Fixture, open_pool, options, prompt, run, sampled, until};

/// Positions of a page.
const PAGE: u64 = 16;

fn fresh() -> EngineOptions {
    EngineOptions { prefix_cache: 0, ..options() }
}

#[test]
fn cached_and_fresh_give_the_same_bits() {
    let fixture = Fixture::new();
    let (kept, fresh) = (fixture.engine(), fixture.engine_with(fresh()));
    let soups = [
        (fixture.soup("", Method::Exact), PathChoice::Auto),
        (fixture.soup("concise=0.5,expert=0.5", Method::Exact), PathChoice::Gate),
        (fixture.soup("concise=0.5,expert=0.5", Method::Exact), PathChoice::Materialised),
        (fixture.soup("concise=0.4,friendly=0.5", Method::Ties), PathChoice::Auto),
    ];
    for (i, (soup, path)) in soups.iter().enumerate() {
        // Around the edges of a page: the last token of the prompt is always computed.
        for length in [16, 17, 33, 60, 64, 65] {
            let request = || {
                let request = fixture.submission(&prompt(length, i as u32), soup, sampled(length as u64, 20));
                Submission { path: *path, ..request }
            };
            let expected = run(&fresh, request());
            let hits = kept.stats().prefix_hit_tokens;
            assert_eq!(run(&kept, request()), expected);
            assert_eq!(run(&kept, request()), expected, "{path:?} {length}");
            let hits = kept.stats().prefix_hit_tokens - hits;
            let whole = (length as u64 - 1) / PAGE * PAGE;
            assert!(hits >= whole, "{hits} of {whole}");
        }
    }
    let stats = fresh.stats();
    assert_eq!((stats.prefix_hit_tokens, stats.prefix_cache_bytes), (0, 0));
}

#[test]
fn the_next_turn_of_a_chat_finds_prompt_and_answer() {
    let fixture = Fixture::new();
    let (kept, fresh) = (fixture.engine(), fixture.engine_with(fresh()));
    let soup = fixture.soup("friendly=1", Method::Exact);
    let mut chat = prompt(20, 1);
    for turn in 0..4_u32 {
        let request = || fixture.submission(&chat, &soup, sampled(turn.into(), 25));
        let hits = kept.stats().prefix_hit_tokens;
        let answer = run(&kept, request());
        assert_eq!(run(&fresh, request()), answer);
        if turn > 0 {
            // All that was computed a turn ago, but for the page that was not full.
            let computed = 20 + 25 + u64::from(turn - 1) * 30 - 1;
            assert_eq!(kept.stats().prefix_hit_tokens - hits, computed / PAGE * PAGE);
        }
        chat.extend(answer.iter().map(|(id, _)| id));
        chat.extend(prompt(5, turn + 7));
    }
}

#[test]
fn nothing_is_found_under_another_soup_path_or_revision() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let tokens = prompt(40, 1);
    let other = {
        let dir = fixture.dir.path().join("other");
        let written = fixture.base.write(&fixture.dir.path().join("again"));
        let specs: Vec<_> =
            fixture.specs.iter().map(|s| picollama::PolicySpec { seed: s.seed + 9, ..s.clone() }).collect();
        picollama::write_pool(&dir, &fixture.base, &written, &specs);
        open_pool(&dir, &fixture.checkpoint)
    };
    let same_wish = |pool: &std::sync::Arc<tureen_soup::Pool>, path| {
        let soup = pool.soup(&"concise=0.5,expert=0.5".parse().unwrap(), &MergeOptions::default()).unwrap();
        let request = fixture.submission(&tokens, &soup.into(), sampled(1, 3));
        Submission { pool: pool.clone(), path, ..request }
    };
    let neighbour = fixture.soup("concise=0.5,expert=0.4", Method::Exact);
    let requests = [
        same_wish(&fixture.pool, PathChoice::Gate),
        same_wish(&fixture.pool, PathChoice::Materialised),
        same_wish(&other, PathChoice::Gate),
        fixture.submission(&tokens, &neighbour, sampled(1, 3)),
        fixture.submission(&tokens, &fixture.soup("", Method::Exact), sampled(1, 3)),
    ];
    for request in &requests {
        run(&engine, request.clone());
        assert_eq!(engine.stats().prefix_hit_tokens, 0, "{:?} {:?}", request.path, request.soup.options());
    }
    // The base is the same under every pool.
    let base = other.soup(&"".parse().unwrap(), &MergeOptions::default()).unwrap();
    run(&engine, Submission { pool: other, ..fixture.submission(&tokens, &base.into(), sampled(1, 3)) });
    assert_eq!(engine.stats().prefix_hit_tokens, 32);
}

#[test]
fn a_prompt_that_many_send_at_once_is_computed_once() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let soup = fixture.soup("concise=1", Method::Exact);
    let system = prompt(128, 1);
    let requests: Vec<_> =
        (0..16).map(|i| fixture.submission(&[&system[..], &prompt(4, i)].concat(), &soup, sampled(1, 8))).collect();
    let running: Vec<_> = requests.iter().map(|r| engine.submit(r.clone()).unwrap()).collect();
    let together: Vec<_> = running.into_iter().map(crate::common::tokens).collect();
    let stats = engine.stats();
    assert_eq!(stats.prefill_tokens + stats.prefix_hit_tokens, 16 * 132);
    // Steps are planned before the first pages are full: some begin beside the first.
    assert!(stats.prefill_tokens < 16 * 132 / 2, "{stats:?}");
    let fresh = fixture.engine_with(fresh());
    for (request, tokens) in requests.into_iter().zip(together) {
        assert_eq!(run(&fresh, request), tokens);
    }
}

#[test]
fn prefixes_give_way_before_anybody_is_refused_or_sent_back() {
    let fixture = Fixture::new();
    let page = 2 * 2 * 2 * 16 * 4 * PAGE;
    let engine = fixture.engine_with(EngineOptions { memory_budget: 12 * page, ..options() });
    let soup = fixture.soup("", Method::Exact);
    for i in 0..20 {
        run(&engine, fixture.submission(&prompt(100, i), &soup, sampled(1, 30)));
        let stats = engine.stats();
        assert!(stats.memory_used_bytes <= 12 * page, "{stats:?}");
    }
    let stats = engine.stats();
    assert_eq!((stats.preemptions, stats.prefix_hit_tokens), (0, 0));
    until(&engine, "only prefixes stay", |s| s.kv_cache_bytes == s.prefix_cache_bytes);
    // The last prompt is there still, the first is not.
    run(&engine, fixture.submission(&prompt(100, 19), &soup, sampled(1, 1)));
    assert_eq!(engine.stats().prefix_hit_tokens, 96);
    run(&engine, fixture.submission(&prompt(100, 0), &soup, sampled(1, 1)));
    assert_eq!(engine.stats().prefix_hit_tokens, 96);
}

#[test]
fn whatever_was_asked_before_the_bits_are_the_same() {
    let fixture = Fixture::new();
    let page = 2 * 2 * 2 * 16 * 4 * PAGE;
    let kept = fixture.engine_with(EngineOptions { memory_budget: 30 * page, prefill_chunk: 24, ..options() });
    let fresh = fixture.engine_with(fresh());
    let soups = ["", "concise=1", "concise=0.9"].map(|wish| fixture.soup(wish, Method::Exact));
    // A few stems and where they are left: prompts share beginnings, inside pages and at their ends.
    let asked = (0..3_usize, 0..2_u32, 1..90_usize, 0..3_u32, 0..20_usize, 1..12_usize);
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    let same = |(soup, stem, cut, end, tail, answer)| {
        let tokens = [prompt(cut, stem), prompt(tail, end + 50)].concat();
        let request = || fixture.submission(&tokens, &soups[soup], sampled(3, answer));
        prop_assert_eq!(run(&kept, request()), run(&fresh, request()));
        Ok(())
    };
    runner.run(&asked, same).unwrap();
    assert!(kept.stats().prefix_hit_tokens > 0);
}
