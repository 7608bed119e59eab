//! The engine's numbers, gathered from where they are counted.

use std::sync::atomic::Ordering;

use super::Engine;
use crate::stats::EngineStats;

impl Engine {
    /// The numbers of this moment.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        let (inner, c) = (&*self.0, &*self.0.counters);
        let (soup_cache_entries, soup_cache_bytes) = inner.soups.size();
        let merges = inner.merger.counts();
        let relaxed = Ordering::Relaxed;
        let seconds = |micros: u64| micros as f64 / 1e6;
        let running = c.running.load(relaxed);
        EngineStats {
            running,
            shadows: c.shadows.load(relaxed),
            waiting: inner.places.load(relaxed).saturating_sub(running),
            memory_budget_bytes: inner.budget.limit(),
            memory_used_bytes: inner.budget.used(),
            kv_cache_bytes: inner.budget.kv(),
            prefix_cache_bytes: inner.kv.prefix_bytes(),
            soup_cache_entries,
            soup_cache_bytes,
            merges: merges.merges.load(relaxed),
            merge_failures: merges.failures.load(relaxed),
            merge_seconds: seconds(merges.microseconds.load(relaxed)),
            steps: c.steps.load(relaxed),
            step_seconds: seconds(c.step_microseconds.load(relaxed)),
            prefill_tokens: c.prefill_tokens.load(relaxed),
            prefix_hit_tokens: c.prefix_hit_tokens.load(relaxed),
            preemptions: c.preemptions.load(relaxed),
            decode_tokens: c.decode_tokens.load(relaxed),
            drafted_tokens: c.drafted_tokens.load(relaxed),
            accepted_tokens: c.accepted_tokens.load(relaxed),
            gate_tokens: c.gate_tokens.load(relaxed),
            panics: c.panics.load(relaxed),
        }
    }
}
