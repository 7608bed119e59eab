//! The engine's numbers.

use std::sync::atomic::{AtomicU64, AtomicUsize};

/// A snapshot of what the engine does and has done. Counters count from the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EngineStats {
    /// Requests in the batch.
    pub running: usize,
    /// Sequences beside them that nobody waits for.
    pub shadows: usize,
    /// Sequences waiting for a place in the batch, or for their soup.
    pub waiting: usize,
    /// Bytes that may be used.
    pub memory_budget_bytes: u64,
    /// Bytes leased: KV caches and materialised soups.
    pub memory_used_bytes: u64,
    /// Bytes of all pages of keys and values: those of running sequences, those kept for prompts to come, and unused
    /// ones while the engine works.
    pub kv_cache_bytes: u64,
    /// Bytes of the pages that are kept for prompts to come; running sequences may share some.
    pub prefix_cache_bytes: u64,
    /// Materialised soups in the cache.
    pub soup_cache_entries: u64,
    /// Their bytes.
    pub soup_cache_bytes: u64,
    /// Merges, failed ones included.
    pub merges: u64,
    /// Merges that failed.
    pub merge_failures: u64,
    /// Time spent merging.
    pub merge_seconds: f64,
    /// Steps of the scheduler.
    pub steps: u64,
    /// Time spent in them.
    pub step_seconds: f64,
    /// Prompt tokens computed.
    pub prefill_tokens: u64,
    /// Prompt tokens that were found in the prefix cache instead of computed.
    pub prefix_hit_tokens: u64,
    /// Times a running sequence gave its pages to older ones, to be computed again.
    pub preemptions: u64,
    /// Tokens generated.
    pub decode_tokens: u64,
    /// Tokens that were drafted to be computed before they were chosen.
    pub drafted_tokens: u64,
    /// Those of them that were chosen: as many steps were saved.
    pub accepted_tokens: u64,
    /// Tokens of both kinds computed with a gate.
    pub gate_tokens: u64,
    /// Steps that crashed.
    pub panics: u64,
}

/// What the scheduler counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) running: AtomicUsize,
    pub(crate) shadows: AtomicUsize,
    pub(crate) steps: AtomicU64,
    pub(crate) step_microseconds: AtomicU64,
    pub(crate) prefill_tokens: AtomicU64,
    pub(crate) prefix_hit_tokens: AtomicU64,
    pub(crate) preemptions: AtomicU64,
    pub(crate) decode_tokens: AtomicU64,
    pub(crate) drafted_tokens: AtomicU64,
    pub(crate) accepted_tokens: AtomicU64,
    pub(crate) gate_tokens: AtomicU64,
    pub(crate) panics: AtomicU64,
}
