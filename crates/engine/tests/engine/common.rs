//! A tiny base and its pool on disk, and an engine on them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use picollama::{Base, PolicySpec, write_pool};
use tempfile::TempDir;
use tureen_engine::{
    Checkpoint, Engine, EngineOptions, Event, Generation, PathChoice, SamplingParams, Submission, SubmitError,
};
use tureen_soup::{MergeOptions, Method, Pool, PoolOptions, Soup};

/// A pool that keeps apart what a merge must: ranks, alphas, targets and initialisations differ.
pub(crate) fn policies() -> Vec<PolicySpec> {
    let concise = PolicySpec { rank: 4, alpha: 8.0, amplitude: 0.1, ..PolicySpec::lora("concise") };
    let expert = PolicySpec {
        rank: 2,
        alpha: 3.0,
        seed: 7,
        a_seed: 8,
        rslora: true,
        amplitude: 0.1,
        targets: vec!["k_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        ..PolicySpec::lora("expert")
    };
    let friendly =
        PolicySpec { rank: 8, alpha: 4.0, seed: 9, a_seed: 10, amplitude: 0.1, ..PolicySpec::lora("friendly") };
    vec![concise, expert, friendly]
}

pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) base: Base,
    pub(crate) specs: Vec<PolicySpec>,
    pub(crate) checkpoint: Arc<Checkpoint>,
    pub(crate) pool: Arc<Pool>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::of(Base::llama(), policies())
    }

    pub(crate) fn of(base: Base, specs: Vec<PolicySpec>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let written = base.write(&dir.path().join("base"));
        write_pool(&dir.path().join("pool"), &base, &written, &specs);
        let checkpoint = Arc::new(Checkpoint::open(&dir.path().join("base")).unwrap());
        let pool = open_pool(&dir.path().join("pool"), &checkpoint);
        Self { dir, base, specs, checkpoint, pool }
    }

    pub(crate) fn pool_dir(&self) -> PathBuf {
        self.dir.path().join("pool")
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine_with(options())
    }

    pub(crate) fn engine_with(&self, options: EngineOptions) -> Engine {
        let options = EngineOptions { threads: 2, max_context: 256, ..options };
        Engine::start(self.checkpoint.clone(), self.pool.clone(), options).unwrap()
    }

    pub(crate) fn soup(&self, wish: &str, method: Method) -> Arc<Soup> {
        self.soup_with(wish, MergeOptions { method, ..MergeOptions::default() })
    }

    pub(crate) fn soup_with(&self, wish: &str, options: MergeOptions) -> Arc<Soup> {
        Arc::new(self.pool.soup(&wish.parse().unwrap(), &options).unwrap())
    }

    pub(crate) fn submission(&self, prompt: &[u32], soup: &Arc<Soup>, params: SamplingParams) -> Submission {
        Submission {
            prompt: prompt.to_vec(),
            pool: self.pool.clone(),
            soup: soup.clone(),
            path: PathChoice::Auto,
            client: 0,
            params,
        }
    }
}

pub(crate) fn open_pool(dir: &Path, checkpoint: &Checkpoint) -> Arc<Pool> {
    let pool = Pool::open(dir, &PoolOptions::default()).unwrap();
    pool.check_base(&checkpoint.base_facts()).unwrap();
    Arc::new(pool)
}

/// Never promotes: the two paths of a soup agree to rounding, and these tests compare bits.
pub(crate) fn options() -> EngineOptions {
    EngineOptions { promote_after: 0, ..EngineOptions::default() }
}

/// Tokens that every tiny vocabulary has, different for each seed.
pub(crate) fn prompt(length: usize, seed: u32) -> Vec<u32> {
    (0..length as u32).map(|i| (i * 37 + seed * 101) % 250).collect()
}

/// Sampled, of a fixed length.
pub(crate) fn sampled(seed: u64, max_new_tokens: usize) -> SamplingParams {
    SamplingParams { max_new_tokens, temperature: 1.2, seed, ignore_eos: true, ..SamplingParams::default() }
}

/// All events of a generation, to its end.
pub(crate) fn events(mut generation: Generation) -> Vec<Event> {
    std::iter::from_fn(|| generation.blocking_next()).collect()
}

/// Tokens and log-probabilities, bit for bit.
pub(crate) fn tokens(generation: Generation) -> Vec<(u32, u32)> {
    let events = events(generation);
    assert!(matches!(events.last(), Some(Event::Finished { .. })), "{events:?}");
    let token = |e: &Event| match e {
        Event::Token { id, logprob, .. } => Some((*id, logprob.to_bits())),
        _ => None,
    };
    events.iter().filter_map(token).collect()
}

/// Submits; waits while others fill the queue.
pub(crate) fn run(engine: &Engine, submission: Submission) -> Vec<(u32, u32)> {
    tokens(engine.submit(submission).unwrap())
}

/// Waits until a number of the engine's is what is wanted.
pub(crate) fn until(engine: &Engine, what: &str, reached: impl Fn(&tureen_engine::EngineStats) -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !reached(&engine.stats()) {
        assert!(std::time::Instant::now() < end, "{what}: {:?}", engine.stats());
        std::thread::yield_now();
    }
}

pub(crate) fn refused(result: Result<Generation, SubmitError>) -> SubmitError {
    match result {
        Err(error) => error,
        Ok(_) => panic!("it was taken"),
    }
}
