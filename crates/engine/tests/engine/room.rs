//! One memory budget.

use tureen_engine::{EngineOptions, Event, SubmitError};
use tureen_soup::Method;

use crate::common::{Fixture, events, options, prompt, refused, run, sampled, until};

/// Bytes of one page in the KV cache of the tiny base: 16 tokens, 2 layers, keys and values, 2 heads of 16, f32.
const PAGE: u64 = 16 * 2 * 2 * 2 * 16 * 4;

#[test]
fn a_sequence_that_does_not_fit_is_refused_with_the_sum() {
    let fixture = Fixture::new();
    let engine = fixture.engine_with(EngineOptions { memory_budget: 6 * PAGE, ..options() });
    let soup = fixture.soup("", Method::Exact);
    let submit = |length| engine.submit(fixture.submission(&prompt(length, 1), &soup, sampled(1, 30)));
    let expected = SubmitError::OutOfMemory { needed: 7 * PAGE, used: 0, budget: 6 * PAGE };
    assert_eq!(refused(submit(71)), expected);
    let first = submit(60).unwrap();
    let busy = refused(submit(60));
    assert_eq!(busy, SubmitError::OutOfMemory { needed: 6 * PAGE, used: 6 * PAGE, budget: 6 * PAGE });
    assert_eq!(events(first).len(), 31);
    until(&engine, "the lease comes back", |s| s.memory_used_bytes == 0);
    assert_eq!(events(submit(60).unwrap()).len(), 31);
}

#[test]
fn a_soup_that_does_not_fit_is_refused_and_the_gate_goes_on() {
    let fixture = Fixture::new();
    let options = EngineOptions { memory_budget: 6 * PAGE, promote_after: 1, ..options() };
    let engine = fixture.engine_with(options);
    let merged = fixture.soup("concise=0.5,friendly=0.5", Method::Ties);
    let result = engine.submit(fixture.submission(&prompt(5, 1), &merged, sampled(1, 2)));
    assert!(matches!(refused(result), SubmitError::OutOfMemory { .. }));
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
        match engine.submit(fixture.submission(&prompt(5, i), &soup, sampled(1, 3))) {
            Ok(generation) => assert!(matches!(events(generation).last(), Some(Event::Finished { .. }))),
            Err(error) => assert!(matches!(error, SubmitError::OutOfMemory { .. }), "{error}"),
        }
        assert!(engine.stats().memory_used_bytes <= budget);
    }
    assert!(engine.stats().merges >= 30, "soups give way to new ones: {:?}", engine.stats());
}
