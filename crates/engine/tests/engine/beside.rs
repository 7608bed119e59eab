//! A second revision beside the current one: in one batch, under one budget.

use std::sync::Arc;

use picollama::Base;
use tureen_engine::{Engine, EngineError, EngineOptions, PathChoice, Submission};
use tureen_soup::{MergeOptions, Pool};

use crate::common::{Fixture, open_pool, options, policies, prompt, run, sampled, tokens, until};
use crate::reload::other_pool;

fn of(pool: &Arc<Pool>, seed: u32, tokens: usize) -> Submission {
    let soup = Arc::new(pool.soup(&"concise=0.5,friendly=0.5".parse().unwrap(), &MergeOptions::default()).unwrap());
    let params = sampled(seed.into(), tokens);
    Submission { prompt: prompt(6, seed), pool: pool.clone(), soup, path: PathChoice::Auto, client: 0, params }
}

fn leased(engine: &Engine) -> u64 {
    let stats = engine.stats();
    stats.memory_used_bytes - stats.kv_cache_bytes - stats.soup_cache_bytes
}

#[test]
fn both_revisions_answer_as_they_do_alone() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let other = other_pool(&fixture);
    let pools = [&fixture.pool, &other];
    let alone: Vec<_> = (0..12).map(|i| run(&engine, of(pools[i % 2], i as u32, 40))).collect();
    assert_eq!(leased(&engine), 0, "without a second revision nothing is leased for factors");
    let beside = engine.open_beside(other.clone()).unwrap();
    assert_eq!(engine.pool().revision(), fixture.pool.revision(), "the current one stays");
    assert!(beside.bytes() > 0);
    assert_eq!(leased(&engine), beside.bytes());
    let running: Vec<_> = (0..12).map(|i| engine.submit(of(pools[i % 2], i as u32, 40)).unwrap()).collect();
    for (generation, alone) in running.into_iter().zip(&alone) {
        assert_eq!(tokens(generation), *alone);
    }
    // What it serves keeps it, then it goes.
    let last = engine.submit(of(&other, 1, 200)).unwrap();
    let bytes = beside.bytes();
    drop(beside);
    assert_eq!(leased(&engine), bytes);
    assert_eq!(tokens(last).len(), 200);
    until(&engine, "the lease comes back", |_| leased(&engine) == 0);
    // Taken over, it is the current one, which is outside the budget.
    let beside = engine.open_beside(other.clone()).unwrap();
    engine.reload(other.clone()).unwrap();
    assert_eq!(leased(&engine), 0);
    drop(beside);
    assert_eq!(run(&engine, of(&engine.pool(), 1, 40)), alone[1]);
}

#[test]
fn without_room_it_is_refused_with_the_sum_and_nothing_changes() {
    let fixture = Fixture::new();
    let other = other_pool(&fixture);
    let (bytes, longest) = {
        let engine = fixture.engine();
        let bytes = engine.open_beside(other.clone()).unwrap().bytes();
        let merged = fixture.soup("concise=1,expert=1,friendly=1", tureen_soup::Method::Ties);
        run(&engine, fixture.submission(&prompt(5, 1), &merged, sampled(1, 1)));
        // 255 positions of the tiny base: 16 pages of 8 KiB.
        (bytes, 16 * 8192 + engine.stats().soup_cache_bytes)
    };
    let with = |memory_budget| fixture.engine_with(EngineOptions { memory_budget, prefix_cache: 0, ..options() });
    let engine = with(bytes + longest - 2048);
    let Err(EngineError::TooLarge { factors, request, budget }) = engine.open_beside(other.clone()) else { panic!() };
    assert_eq!((factors, budget), (bytes, bytes + longest - 2048));
    assert!(request <= longest && longest - request < 1024, "the cache counts in KiB: {request}, {longest}");
    assert_eq!(leased(&engine), 0);
    let alone = run(&engine, of(&fixture.pool, 1, 240));

    let engine = with(bytes + longest);
    let beside = engine.open_beside(other.clone()).unwrap();
    let third = {
        let dir = fixture.dir.path().join("other");
        let manifest = std::fs::read_to_string(dir.join("pool.toml")).unwrap();
        std::fs::write(dir.join("pool.toml"), manifest + "# another revision\n").unwrap();
        open_pool(&dir, &fixture.checkpoint)
    };
    let refused = engine.open_beside(third.clone());
    assert!(matches!(refused, Err(EngineError::NoRoom { factors, .. }) if factors == bytes), "{refused:?}");
    drop(beside);
    let beside = engine.open_beside(third).unwrap();
    // What fitted beside it before fits still.
    assert_eq!(run(&engine, of(&fixture.pool, 1, 240)), alone);
    assert_eq!(run(&engine, of(beside.pool(), 1, 240)).len(), 240);
}

#[test]
fn a_pool_of_another_base_is_not_opened() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let stranger = Fixture::of(Base { seed: 99, ..Base::llama() }, policies());
    assert!(matches!(engine.open_beside(stranger.pool.clone()), Err(EngineError::OtherBase { .. })));
    assert_eq!(leased(&engine), 0);
}
