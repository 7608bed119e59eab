//! How an engine is set up.

use tureen_kernels::{Isa, Precision};

/// Limits and sizes, each with its cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Compute threads; 0 takes every core.
    pub threads: usize,
    /// Bytes for KV caches and materialised soups together.
    pub memory_budget: u64,
    /// Sequences computed together. A step takes longer with more, each sequence a little.
    pub max_batch_rows: usize,
    /// Requests that may wait while the batch is full.
    pub max_waiting: usize,
    /// Prompt tokens computed in one step, over all sequences: what a running stream waits longest for.
    pub prefill_chunk: usize,
    /// Bytes of full pages of keys and values that are kept for prompts to come which begin alike with the same soup; 0
    /// keeps none. They are part of the budget, and give way to everything else in it.
    pub prefix_cache: u64,
    /// Try what followed the last words before, several tokens in one step, where that pays: the same answers, sooner where
    /// they repeat what was said.
    pub speculation: bool,
    /// Tokens of prompt and answer together.
    pub max_context: usize,
    /// Requests for one soup before it is merged and kept; 0 never merges what the gate can serve.
    pub promote_after: u32,
    /// Number format of weights and activations.
    pub precision: Precision,
    /// Instruction set of the kernels; `None` takes the widest that the CPU has.
    pub isa: Option<Isa>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            memory_budget: 2 << 30,
            max_batch_rows: 16,
            max_waiting: 64,
            prefill_chunk: 64,
            prefix_cache: 512 << 20,
            speculation: true,
            max_context: 2048,
            promote_after: 16,
            precision: Precision::F32,
            isa: None,
        }
    }
}
