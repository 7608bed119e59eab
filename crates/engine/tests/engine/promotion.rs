//! Hot soups are merged once and kept; the gate serves them until then.

use tureen_engine::{EngineOptions, PathChoice, SoupPath};
use tureen_soup::Method;

use crate::common::{Fixture, events, prompt, sampled, until};

#[test]
fn a_hundred_equal_preferences_at_once_are_one_merge() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(EngineOptions { max_waiting: 200, ..EngineOptions::default() });
    let soup = fixture.soup("concise=0.2,friendly=0.8", Method::Ties);
    let submission = fixture.submission(&prompt(4, 1), &soup, sampled(1, 2));
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| assert_eq!(events(engine.submit(submission.clone()).unwrap()).len(), 3));
        }
    });
    let stats = engine.stats();
    assert_eq!((stats.merges, stats.merge_failures, stats.soup_cache_entries), (1, 0, 1));
}

#[test]
fn a_soup_is_promoted_when_it_was_asked_for_often_enough() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(EngineOptions { promote_after: 3, ..EngineOptions::default() });
    let soup = fixture.soup("concise=0.2,friendly=0.8", Method::Exact);
    let path = || {
        let generation = engine.submit(fixture.submission(&prompt(4, 1), &soup, sampled(1, 2))).unwrap();
        let path = generation.path();
        events(generation);
        path
    };
    assert_eq!([path(), path(), path()], [SoupPath::Gate; 3]);
    until(&engine, "the third request starts the merge", |s| s.merges == 1);
    assert_eq!(path(), SoupPath::Materialised);
    let other = fixture.soup("concise=0.8,friendly=0.2", Method::Exact);
    let generation = engine.submit(fixture.submission(&prompt(4, 1), &other, sampled(1, 2))).unwrap();
    assert_eq!(generation.path(), SoupPath::Gate, "another soup is not hot");
}

#[test]
fn without_promotion_the_gate_serves_for_ever() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(EngineOptions { promote_after: 0, ..EngineOptions::default() });
    let soup = fixture.soup("concise=1", Method::Exact);
    for _ in 0..40 {
        let generation = engine.submit(fixture.submission(&prompt(4, 1), &soup, sampled(1, 1))).unwrap();
        assert_eq!(generation.path(), SoupPath::Gate);
    }
    assert_eq!(engine.stats().merges, 0);
}

#[test]
fn an_evicted_soup_is_merged_again_to_the_same_bits() {
    let fixture = Fixture::new();
    let soup = fixture.soup("concise=0.3,expert=0.3,friendly=0.4", Method::DareTies);
    let tokens = prompt(20, 1);
    let logits = || fixture.engine().logits(&soup, PathChoice::Auto, &tokens).unwrap();
    assert_eq!(logits(), logits());
}
