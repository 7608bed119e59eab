//! What only the inside can provoke.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use picollama::{Base, PolicySpec, write_pool};
use tureen_soup::{MergeOptions, Pool, PoolOptions, Preference};

use crate::{Checkpoint, Engine, EngineOptions, Event, PathChoice, SamplingParams, Submission};

#[test]
fn a_crashed_step_ends_its_rows_and_the_next_request_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let base = Base::llama();
    let written = base.write(&dir.path().join("base"));
    write_pool(&dir.path().join("pool"), &base, &written, &[PolicySpec::lora("concise")]);
    let checkpoint = Arc::new(Checkpoint::open(&dir.path().join("base")).unwrap());
    let pool = Arc::new(Pool::open(&dir.path().join("pool"), &PoolOptions::default()).unwrap());
    let engine = Engine::start(checkpoint, pool.clone(), EngineOptions { threads: 1, ..Default::default() }).unwrap();
    let soup = Arc::new(pool.soup(&Preference::default(), &MergeOptions::default()).unwrap());
    let submit = |max_new_tokens| {
        let params = SamplingParams { max_new_tokens, ignore_eos: true, ..SamplingParams::default() };
        let (pool, soup) = (pool.clone(), soup.clone());
        engine
            .submit(Submission { prompt: vec![1, 2, 3], pool, soup, path: PathChoice::Auto, client: 0, params })
            .unwrap()
    };
    let mut running = submit(1000);
    assert!(matches!(running.blocking_next(), Some(Event::Token { .. })));
    engine.inject_panic();
    let last = std::iter::from_fn(|| running.blocking_next()).last().unwrap();
    assert!(matches!(&last, Event::Failed(e) if e.code() == "engine_panicked"), "{last:?}");
    let mut next = submit(3);
    let last = std::iter::from_fn(|| next.blocking_next()).last().unwrap();
    assert!(matches!(last, Event::Finished { generated_tokens: 3, .. }), "{last:?}");
    assert!(engine.is_healthy());
    assert_eq!(engine.stats().panics, 1);
}
