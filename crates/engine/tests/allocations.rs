//! A step of decoding allocates nothing: told by an allocator that counts what the engine's threads ask for.
//!
//! The engine does not wait for those who listen, so the test looks at a stretch of a long answer: buffers have grown to
//! their largest by then, pages come back from answers that ended, and all streams run from its beginning to its end.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use picollama::{Base, PolicySpec, write_pool};
use tureen_engine::{Checkpoint, Engine, EngineOptions, Event, Generation, PathChoice, SamplingParams, Submission};
use tureen_soup::{MergeOptions, Method, Pool, PoolOptions, Soup};

/// Tokens of an answer that makes room, and of one that is looked at; where the look begins and ends, for all streams on
/// average: drafts let some of them run ahead.
const SHORT: usize = 1200;
const LONG: usize = 3600;
const FROM: usize = 1300;
const TO: usize = 1900;

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread is the test's own, or of the harness.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

fn count() {
    // A thread that ends has no locals any more: it is none of a running engine.
    if COUNTING.load(SeqCst) && !ASIDE.try_with(Cell::get).unwrap_or(true) {
        COUNT.fetch_add(1, SeqCst);
    }
}

// SAFETY: everything is the system allocator's; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Fixture {
    pool: Arc<Pool>,
    engine: Engine,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = Base::llama();
        let written = base.write(&dir.path().join("base"));
        let policies = ["concise", "expert", "friendly"].map(PolicySpec::lora);
        write_pool(&dir.path().join("pool"), &base, &written, &policies);
        let checkpoint = Arc::new(Checkpoint::open(&dir.path().join("base")).unwrap());
        let pool = Arc::new(Pool::open(&dir.path().join("pool"), &PoolOptions::default()).unwrap());
        // One thread: which thread of a team meets the longest sequence first is chance.
        let options = EngineOptions {
            threads: 1,
            max_context: LONG + 100,
            max_batch_rows: 32,
            prefix_cache: 0,
            promote_after: 0,
            ..EngineOptions::default()
        };
        Self { engine: Engine::start(checkpoint, pool.clone(), options).unwrap(), pool }
    }

    fn soup(&self, wish: &str, method: Method) -> Arc<Soup> {
        let options = MergeOptions { method, ..MergeOptions::default() };
        Arc::new(self.pool.soup(&wish.parse().unwrap(), &options).unwrap())
    }

    fn submit(&self, soup: &Arc<Soup>, params: &SamplingParams, tokens: usize) -> Generation {
        let params = SamplingParams { max_new_tokens: tokens, ignore_eos: true, ..params.clone() };
        let (pool, soup) = (self.pool.clone(), soup.clone());
        let submission = Submission { prompt: vec![7; 20], pool, soup, path: PathChoice::Auto, client: 0, params };
        self.engine.submit(submission).unwrap()
    }
}

/// Every way to choose a token.
fn ways() -> Vec<SamplingParams> {
    let sampled = SamplingParams { temperature: 0.9, ..SamplingParams::default() };
    vec![
        SamplingParams::default(),
        sampled.clone(),
        SamplingParams { top_k: 20, seed: 1, ..sampled.clone() },
        SamplingParams { top_p: 0.8, seed: 2, ..sampled.clone() },
        SamplingParams { min_p: 0.02, seed: 3, ..sampled.clone() },
        SamplingParams { top_k: 50, top_p: 0.9, min_p: 0.01, repetition_penalty: 1.1, ..sampled.clone() },
        SamplingParams { logit_bias: vec![(9, 1.0)], seed: 4, ..sampled.clone() },
        SamplingParams { stop: vec!["no answer has this in it".into()], seed: 5, ..sampled },
    ]
}

#[test]
fn decoding_allocates_nothing() {
    ASIDE.set(true);
    let fixture = Fixture::new();
    let mut soups = vec![fixture.soup("", Method::Exact), fixture.soup("concise=1,expert=2", Method::Ties)];
    soups.extend((1..7).map(|i| fixture.soup(&format!("concise={i},friendly=3"), Method::Exact)));
    // Buffers of the longest sequence there is.
    finish(fixture.submit(&soups[2], &ways()[0], LONG));
    let looked_at = std::iter::repeat_with(|| look(&fixture, &soups)).take(20).flatten().next();
    assert_eq!(looked_at.expect("one of twenty looks falls into the answers"), 0);
    fixture.engine.shutdown();
}

/// Allocations while all streams decode; `None` when some had ended before the look was over.
fn look(fixture: &Fixture, soups: &[Arc<Soup>]) -> Option<usize> {
    let decoded = || fixture.engine.stats().decode_tokens as usize;
    let before = decoded();
    let streams = |tokens| {
        let pairs = soups.iter().zip(ways());
        pairs.map(|(soup, params)| fixture.submit(soup, &params, tokens)).collect::<Vec<_>>()
    };
    let (short, long) = (streams(SHORT), streams(LONG));
    let of_all = |tokens: usize| before + short.len() * SHORT + long.len() * tokens;
    await_that(fixture, || decoded() >= of_all(FROM));
    COUNT.store(0, SeqCst);
    COUNTING.store(true, SeqCst);
    await_that(fixture, || decoded() >= of_all(TO));
    COUNTING.store(false, SeqCst);
    let (running, count) = (fixture.engine.stats().running, COUNT.load(SeqCst));
    let valid = running == long.len() && decoded() < of_all(LONG);
    short.into_iter().chain(long).for_each(finish);
    valid.then_some(count)
}

/// Waits for it, or until nothing is left to do.
fn await_that(fixture: &Fixture, reached: impl Fn() -> bool) {
    let busy = || {
        let stats = fixture.engine.stats();
        stats.running + stats.waiting > 0
    };
    while !reached() && busy() {
        std::thread::yield_now();
    }
}

fn finish(mut generation: Generation) {
    let last = std::iter::from_fn(|| generation.blocking_next()).last();
    assert!(matches!(last, Some(Event::Finished { .. })), "{last:?}");
}
