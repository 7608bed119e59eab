//! Answers from the serving engine: continuous batching over the base and soups of policies.

mod computing;
mod pooled;

use std::collections::VecDeque;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};
use tureen_engine::{
    Checkpoint, Engine, EngineOptions, Event, FinishReason, Generation, PathChoice, SamplingParams, Submission, Text,
};
use tureen_soup::Pool;

pub use computing::Computing;
pub use pooled::{FreshPool, PooledSoup};

use crate::error::TrainError;

/// Answers computed together.
const ROWS: usize = 32;
/// Bytes of keys and values kept for prompts that begin alike: chat templates do, and a policy in training never comes back.
const PREFIXES: u64 = 64 << 20;
/// Prompt tokens computed in one step: nobody waits for a first token here.
const PREFILL: usize = 256;

/// One answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// Its tokens; an end-of-sequence token, when one was chosen, is the last.
    pub tokens: Vec<u32>,
    /// Log-probability of each token under the soup that answered, in nats.
    pub log_probs: Vec<f32>,
    /// Whether it ended by itself.
    pub ended: bool,
}

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
    /// Divides the logits.
    pub temperature: f32,
    /// Smallest probability that the likeliest tokens kept must reach; 1 keeps all.
    pub top_p: f32,
    /// Seed of the draws of this answer.
    pub seed: u64,
}

impl Sampling {
    /// Temperature 1 and nothing cut off: the log-probabilities are those of what answered.
    pub fn plain(max_new_tokens: usize, seed: u64) -> Self {
        Self { max_new_tokens, temperature: 1.0, top_p: 1.0, seed }
    }
}

/// An answer that is wanted.
#[derive(Clone, Debug)]
pub struct Order {
    /// The tokens of the prompt's chat.
    pub prompt: Vec<u32>,
    /// Who answers.
    pub soup: PooledSoup,
    /// How.
    pub sampling: Sampling,
}

/// A running engine for orders of one base.
pub struct Generator {
    engine: Engine,
    /// Waits for scores.
    runtime: Runtime,
    computing: Computing,
}

impl Generator {
    /// Starts an engine for prompts and answers of at most `longest` tokens together, with as many threads as the global
    /// thread pool has. On the CPU in f32 its log-probabilities are the trainer's own but for rounding; in int8, what servers
    /// compute in by default, it is several times as fast.
    ///
    /// # Errors
    /// A base that cannot be read, no more threads, or a device that is not there or lacks the memory.
    pub fn start(checkpoint: Arc<Checkpoint>, longest: usize, computing: Computing) -> Result<Self, TrainError> {
        let config = checkpoint.config();
        let token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * size_of::<f32>();
        let max_context = longest.min(config.max_position_embeddings);
        let options = EngineOptions {
            threads: rayon::current_num_threads(),
            // Room for all rows at their longest, with a page of slack for each.
            memory_budget: (token * ROWS * (max_context + 64)) as u64,
            max_batch_rows: ROWS,
            // The places of answers that are told and not yet tidied away count too.
            max_waiting: 3 * ROWS,
            prefill_chunk: PREFILL,
            prefix_cache: PREFIXES,
            // At temperature 1 hardly anything is said twice.
            speculation: false,
            max_context,
            promote_after: 0,
            precision: computing.precision,
            device: computing.device,
            isa: None,
        };
        let pool = Arc::new(Pool::empty(checkpoint.base_facts().identity()));
        let engine = Engine::start(checkpoint, pool, options).map_err(|error| TrainError::Base(error.to_string()))?;
        let runtime = Builder::new_current_thread().build().map_err(|error| TrainError::Base(error.to_string()))?;
        Ok(Self { engine, runtime, computing })
    }

    /// The base.
    pub fn checkpoint(&self) -> &Checkpoint {
        self.engine.checkpoint()
    }

    /// What it computes with.
    pub(crate) fn computing(&self) -> Computing {
        self.computing
    }

    /// The base as a soup without policies.
    ///
    /// # Errors
    /// Never: the empty preference is one.
    pub fn base(&self) -> Result<PooledSoup, TrainError> {
        PooledSoup::base(self.engine.pool())
    }

    /// Answers all orders, in their order. What an order gets depends on it alone, and not on the others.
    ///
    /// # Errors
    /// An order that the engine refuses, for instance for its length, or an engine that fails.
    pub fn answer(&self, orders: &[Order]) -> Result<Vec<Response>, TrainError> {
        let mut responses = Vec::with_capacity(orders.len());
        let mut running = VecDeque::new();
        for order in orders {
            if running.len() == 2 * ROWS {
                responses.extend(running.pop_front().map(collect).transpose()?);
            }
            running.push_back(self.submit(order)?);
        }
        for generation in running {
            responses.push(collect(generation)?);
        }
        Ok(responses)
    }

    /// Log-probability under the base, in nats, of each token of a finished `answer` to `prompt` (tokens, the prompt's of the
    /// chat up to the assistant's turn).
    ///
    /// # Errors
    /// A sequence that is too long, or an engine that fails.
    pub fn base_log_probs(&self, prompt: &[u32], answer: &[u32]) -> Result<Vec<f32>, TrainError> {
        let PooledSoup { pool, soup } = self.base()?;
        let text = Text { prompt: prompt.to_vec(), answer: answer.to_vec(), pool, soups: vec![soup] };
        let scores = self.runtime.block_on(self.engine.score(text));
        let mut scores = scores.map_err(|error| TrainError::Generation(error.to_string()))?;
        Ok(scores.pop().flatten().unwrap_or_default())
    }

    fn submit(&self, order: &Order) -> Result<Generation, TrainError> {
        let Sampling { max_new_tokens, temperature, top_p, seed } = order.sampling;
        let submission = Submission {
            prompt: order.prompt.clone(),
            pool: order.soup.pool.clone(),
            soup: order.soup.soup.clone(),
            path: PathChoice::Gate,
            client: 0,
            params: SamplingParams { max_new_tokens, temperature, top_p, seed, ..SamplingParams::default() },
        };
        self.engine.submit(submission).map_err(|error| TrainError::Generation(error.to_string()))
    }
}

fn collect(mut generation: Generation) -> Result<Response, TrainError> {
    let mut response = Response::default();
    loop {
        match generation.blocking_next() {
            Some(Event::Token { id, logprob, .. }) => {
                response.tokens.push(id);
                response.log_probs.push(logprob);
            }
            Some(Event::Finished { reason, .. }) => {
                response.ended = reason == FinishReason::EosToken;
                return Ok(response);
            }
            Some(Event::Failed(error)) => return Err(TrainError::Generation(error.to_string())),
            None => return Err(TrainError::Generation("the engine stopped".into())),
        }
    }
}

/// A seed for one answer out of what names it, for instance the run's seed, the step and the row: a run that goes on draws
/// what it would have drawn, and needs no state for it.
pub fn answer_seed(parts: &[u64]) -> u64 {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part.to_le_bytes()));
    hasher.finalize().iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}
