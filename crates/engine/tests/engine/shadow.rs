//! Work that nobody waits for takes nothing that a request wants.

use tureen_engine::{EngineOptions, Event, GenerationError};
use tureen_soup::Method;

use crate::common::{Fixture, events, options, prompt, refused, run, sampled, tokens, until};

#[test]
fn alone_it_is_computed_as_any_request_and_keeps_no_prefix() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let soup = fixture.soup("concise=0.5,friendly=0.5", Method::Exact);
    let request = || fixture.submission(&prompt(40, 1), &soup, sampled(1, 30));
    let shadow = tokens(engine.shadow(request()).unwrap());
    assert_eq!(engine.stats().prefix_cache_bytes, 0);
    assert_eq!(run(&engine, request()), shadow);
    assert_eq!(engine.stats().prefix_hit_tokens, 0);
    let merged = fixture.soup("concise=0.5,friendly=0.5", Method::Ties);
    assert!(engine.shadow(fixture.submission(&prompt(5, 1), &merged, sampled(1, 3))).is_none());
    assert_eq!(engine.stats().merges, 0);
}

#[test]
fn requests_take_its_row_and_none_of_them_is_refused() {
    let fixture = Fixture::new();
    let roomy = fixture.engine();
    let engine = fixture.engine_with(EngineOptions { max_batch_rows: 2, max_waiting: 2, ..options() });
    let soup = fixture.soup("friendly=1", Method::Exact);
    let request = |seed: u32, tokens| fixture.submission(&prompt(20, seed), &soup, sampled(seed.into(), tokens));
    let shadows: Vec<_> = (0..2).map(|i| engine.shadow(request(i, 230)).unwrap()).collect();
    assert!(engine.shadow(request(9, 230)).is_none(), "as many as there are rows");
    until(&engine, "they run", |s| s.shadows == 2);
    assert_eq!(engine.stats().running + engine.stats().waiting, 0, "no request is among them");
    // Rows and queue are full of requests alone.
    let requests: Vec<_> = (10..14).map(|i| (i, engine.submit(request(i, 60)).unwrap())).collect();
    refused(engine.submit(request(20, 60)));
    for (seed, generation) in requests {
        assert_eq!(tokens(generation), run(&roomy, request(seed, 60)));
    }
    for shadow in shadows {
        let last = events(shadow).pop().unwrap();
        assert_eq!(last, Event::Failed(GenerationError::Displaced));
    }
}

#[test]
fn requests_take_its_pages() {
    let fixture = Fixture::new();
    let roomy = fixture.engine();
    // 14 pages of 16 tokens: less than two long answers take.
    let budget = EngineOptions { memory_budget: 14 * 8192, max_waiting: 100, ..options() };
    let soup = fixture.soup("friendly=1", Method::Exact);
    let request = |seed: u32, tokens| fixture.submission(&prompt(20, seed), &soup, sampled(seed.into(), tokens));
    let engine = fixture.engine_with(budget);
    let shadow = engine.shadow(request(1, 150)).unwrap();
    until(&engine, "it runs", |s| s.shadows == 1);
    assert_eq!(run(&engine, request(2, 190)), run(&roomy, request(2, 190)));
    assert_eq!(engine.stats().preemptions, 0);
    let shadow = events(shadow);
    let displaced = shadow.last() == Some(&Event::Failed(GenerationError::Displaced));
    assert!(displaced || matches!(shadow.last(), Some(Event::Finished { generated_tokens: 150, .. })));
    // Of prefixes that are kept it takes none: with all of the budget kept, it does not even begin.
    for seed in 3..6 {
        run(&engine, request(seed, 190));
    }
    // A moment after the last event.
    until(&engine, "all of its full pages are kept", |s| s.prefix_cache_bytes >= 13 * 8192);
    let kept = engine.stats().prefix_cache_bytes;
    assert_eq!(events(engine.shadow(request(7, 150)).unwrap()), [Event::Failed(GenerationError::Displaced)]);
    assert_eq!(engine.stats().prefix_cache_bytes, kept);
}
