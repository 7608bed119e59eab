//! A pool is exchanged under load, and no answer mixes two revisions.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use picollama::{Base, PolicySpec, write_pool};
use tureen_engine::{Engine, PathChoice, Submission};
use tureen_soup::{MergeOptions, Method, Pool};

use crate::common::{Fixture, open_pool, policies, prompt, run, sampled};

/// The same policies by name, with other weights.
pub(crate) fn other_pool(fixture: &Fixture) -> Arc<Pool> {
    let changed = |spec: PolicySpec| PolicySpec { seed: spec.seed + 100, ..spec };
    let dir = fixture.dir.path().join("other");
    let written = fixture.base.write(&fixture.dir.path().join("again"));
    let specs: Vec<_> = policies().into_iter().map(changed).collect();
    write_pool(&dir, &fixture.base, &written, &specs);
    open_pool(&dir, &fixture.checkpoint)
}

fn answer(engine: &Engine, pool: &Arc<Pool>, method: Method) -> Vec<(u32, u32)> {
    let options = MergeOptions { method, ..MergeOptions::default() };
    let soup = Arc::new(pool.soup(&"concise=0.5,friendly=0.5".parse().unwrap(), &options).unwrap());
    let (prompt, params, path) = (prompt(6, 1), sampled(3, 6), PathChoice::Auto);
    run(engine, Submission { prompt, pool: pool.clone(), soup, path, client: 0, params })
}

#[test]
fn a_thousand_reloads_under_load_mix_nothing() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let pools = [fixture.pool.clone(), other_pool(&fixture)];
    let expected = [Method::Exact, Method::Ties].map(|m| [0, 1].map(|p| answer(&engine, &pools[p], m)));
    assert_ne!(expected[0][0], expected[0][1], "the two pools must answer differently");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let (engine, expected, pools, done) = (&engine, &expected, &pools, &done);
            scope.spawn(move || {
                let mut rounds = 0;
                while !done.load(Ordering::Relaxed) || rounds == 0 {
                    let method = [Method::Exact, Method::Ties][(worker + rounds) % 2];
                    let pool = engine.pool();
                    let which = usize::from(pool.revision() == pools[1].revision());
                    assert_eq!(answer(engine, &pool, method), expected[(worker + rounds) % 2][which]);
                    rounds += 1;
                }
            });
        }
        for i in 0..1000 {
            engine.reload(pools[(i + 1) % 2].clone()).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(engine.pool().revision(), pools[0].revision());
}

#[test]
fn a_pool_of_another_base_is_refused_and_the_old_one_stays() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let stranger = Fixture::of(Base { seed: 99, ..Base::llama() }, policies());
    assert!(engine.reload(stranger.pool.clone()).is_err());
    assert_eq!(engine.pool().revision(), fixture.pool.revision());
}

#[test]
fn files_replaced_after_opening_change_nothing() {
    let fixture = Fixture::new();
    let engine = fixture.engine();
    let before = answer(&engine, &fixture.pool, Method::Exact);
    for policy in ["concise", "friendly"] {
        fs::remove_file(fixture.pool_dir().join(policy).join("adapter_model.safetensors")).unwrap();
    }
    assert_eq!(answer(&engine, &fixture.pool, Method::Ties), answer(&engine, &fixture.pool, Method::Ties));
    assert_eq!(answer(&engine, &fixture.pool, Method::Exact), before);
}
