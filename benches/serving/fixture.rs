//! The real base, the shipped pool, pools of random policies, and engines on them.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use picollama::{Architecture, Base, PolicySpec, Written, write_pool};
use tureen_engine::{
    Checkpoint, Engine, EngineOptions, Generation, Isa, PathChoice, Precision, SamplingParams, Submission,
};
use tureen_soup::{MergeOptions, Pool, PoolOptions, Soup};

/// What random policies change: everything that is linear.
const ALL: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
const NAMES: [&str; 6] = ["elementary", "expert", "concise", "informative", "friendly", "unfriendly"];

/// The base and how it is served.
pub(crate) struct Fixture {
    pub(crate) precision: Precision,
    pub(crate) checkpoint: Arc<Checkpoint>,
    next: Cell<u32>,
}

impl Fixture {
    pub(crate) fn new(precision: Precision) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
        let checkpoint = Checkpoint::open(&path).expect("the base; run `cargo run --release -- pull`");
        Self { precision, checkpoint: Arc::new(checkpoint), next: Cell::new(0) }
    }

    /// What the figures were measured with.
    pub(crate) fn machine(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |m| m.1);
        format!("{cores} cores, {model}, kernels {}, precision {}", Isa::detect().name(), self.precision)
    }

    /// The pool of this repository.
    pub(crate) fn shipped(&self) -> Arc<Pool> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        Arc::new(Pool::open(&dir, &PoolOptions::default()).unwrap())
    }

    /// A pool of `n` random policies of rank 16 on all seven projections.
    pub(crate) fn random_pool(&self, n: usize) -> Arc<Pool> {
        let config = self.checkpoint.config();
        let base = Base {
            architecture: Architecture::Llama,
            hidden: config.hidden_size,
            intermediate: config.intermediate_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            vocab: config.vocab_size,
            context: config.max_position_embeddings,
            tie: true,
            shards: 1,
            seed: 0,
        };
        let identity = self.checkpoint.base_facts().identity();
        let written =
            Written { name: identity.name, sha256: identity.sha256, vocabulary_sha256: identity.vocabulary_sha256 };
        let policies: Vec<PolicySpec> = (0..n)
            .map(|i| PolicySpec {
                id: NAMES.get(i).map_or_else(|| format!("random-{i}"), |name| (*name).to_owned()),
                rank: 16,
                alpha: 32.0,
                targets: ALL.to_vec(),
                seed: i as u64,
                amplitude: 0.01,
                ..PolicySpec::lora(NAMES[i % NAMES.len()])
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        write_pool(dir.path(), &base, &written, &policies);
        Arc::new(Pool::open(dir.path(), &PoolOptions::default()).unwrap())
    }

    /// An engine that never promotes.
    pub(crate) fn engine(&self, pool: &Arc<Pool>) -> Serving<'_> {
        self.engine_in(self.precision, pool, 16)
    }

    /// As [`Self::engine`], with more rows or another precision.
    pub(crate) fn engine_in(&self, precision: Precision, pool: &Arc<Pool>, max_batch_rows: usize) -> Serving<'_> {
        let options = EngineOptions { precision, max_batch_rows, ..computing() };
        self.engine_with(pool, options)
    }

    /// An engine as it is served.
    pub(crate) fn engine_with(&self, pool: &Arc<Pool>, options: EngineOptions) -> Serving<'_> {
        let engine = Engine::start(self.checkpoint.clone(), pool.clone(), options).unwrap();
        Serving { engine, next: &self.next }
    }

    /// Tokens that are no text: what is measured does not depend on what they are.
    pub(crate) fn prompt(&self, length: usize) -> Vec<u32> {
        let turn = self.next.replace(self.next.get() + 1);
        (0..length as u32).map(|i| 1000 + (i * 7919 + turn * 104_729) % 40_000).collect()
    }
}

/// Without promotion, kept prefixes and drafts: what is measured is computed, one token a step.
pub(crate) fn computing() -> EngineOptions {
    EngineOptions { promote_after: 0, prefix_cache: 0, speculation: false, ..EngineOptions::default() }
}

/// A running engine.
pub(crate) struct Serving<'a> {
    pub(crate) engine: Engine,
    next: &'a Cell<u32>,
}

impl Serving<'_> {
    pub(crate) fn base(&self) -> Arc<Soup> {
        Arc::new(self.engine.pool().soup(&"".parse().unwrap(), &MergeOptions::default()).unwrap())
    }

    /// A preference nobody asked for before, over all policies.
    pub(crate) fn fresh(&self) -> Arc<Soup> {
        let pool = self.engine.pool();
        let turn = self.next.replace(self.next.get() + 1);
        let weight = |i: usize| 1 + (turn * 7 + i as u32 * 31) % 999_983;
        let wish: Vec<_> =
            pool.policies().iter().enumerate().map(|(i, p)| format!("{}={}", p.id(), weight(i))).collect();
        Arc::new(pool.soup(&wish.join(",").parse().unwrap(), &MergeOptions::default()).unwrap())
    }

    pub(crate) fn submit(&self, soup: &Arc<Soup>, path: PathChoice, prompt: Vec<u32>, answer: usize) -> Generation {
        let params = SamplingParams { max_new_tokens: answer, ignore_eos: true, ..SamplingParams::default() };
        self.submit_with(soup, path, prompt, params)
    }

    pub(crate) fn submit_with(
        &self,
        soup: &Arc<Soup>,
        path: PathChoice,
        prompt: Vec<u32>,
        params: SamplingParams,
    ) -> Generation {
        let (pool, soup) = (self.engine.pool(), soup.clone());
        self.engine.submit(Submission { prompt, pool, soup, path, client: 0, params }).unwrap()
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.engine.shutdown();
    }
}
