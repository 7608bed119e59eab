//! The configuration as typed: one struct per section, exactly the keys of `config.toml`.

use serde::Deserialize;
use tureen_soup::rules::RulesText;

use super::{Fsync, PoolWeights};
use crate::guard::RawCheck;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) server: RawServer,
    pub(super) base: RawBase,
    pub(super) pool: RawPool,
    pub(super) rollout: RawRollout,
    pub(super) engine: RawEngine,
    pub(super) auth: RawAuth,
    pub(super) store: RawStore,
    pub(super) rules: RulesText,
    pub(super) guard: RawGuard,
    pub(super) audit: RawAudit,
    pub(super) learning: RawLearning,
    pub(super) limits: RawLimits,
    pub(super) cache: RawCache,
    pub(super) admin: RawAdmin,
    pub(super) log: RawLog,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServer {
    pub(super) bind: String,
    pub(super) header_timeout_ms: u64,
    pub(super) body_timeout_ms: u64,
    pub(super) request_timeout_ms: u64,
    pub(super) keep_alive_ms: u64,
    pub(super) shutdown_grace_ms: u64,
    pub(super) tls_cert: String,
    pub(super) tls_key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBase {
    pub(super) path: String,
    pub(super) sources: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPool {
    pub(super) dir: String,
    pub(super) candidate_dir: String,
    pub(super) weights: PoolWeights,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRollout {
    pub(super) salt: String,
    pub(super) window: usize,
    pub(super) min_requests: usize,
    pub(super) max_error_rate: f64,
    pub(super) max_error_rise: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEngine {
    pub(super) threads: usize,
    pub(super) precision: String,
    pub(super) isa: String,
    pub(super) device: String,
    pub(super) memory_budget: String,
    pub(super) prefix_cache: String,
    pub(super) max_batch_rows: usize,
    pub(super) prefill_chunk: usize,
    pub(super) speculation: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuth {
    pub(super) require_keys: String,
    pub(super) allow_anonymous: bool,
    pub(super) rate_per_minute: u32,
    pub(super) concurrency: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    pub(super) url: String,
    pub(super) max_connections: usize,
    pub(super) timeout_ms: u64,
    pub(super) cached_profiles: u64,
    pub(super) idempotency_hours: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGuard {
    pub(super) checks: Vec<RawCheck>,
    pub(super) review_days: u32,
    pub(super) max_reviews: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudit {
    pub(super) dir: String,
    pub(super) key: String,
    pub(super) key_file: String,
    pub(super) text: bool,
    pub(super) fsync: Fsync,
    pub(super) segment: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLearning {
    pub(super) sharpness: f64,
    pub(super) prior: f64,
    pub(super) memory: f64,
    pub(super) recent: String,
    pub(super) answers: String,
    pub(super) pairs_days: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) max_body_bytes: usize,
    pub(super) max_context_tokens: usize,
    pub(super) max_new_tokens: usize,
    pub(super) default_new_tokens: usize,
    pub(super) max_messages: usize,
    pub(super) max_stop_sequences: usize,
    pub(super) max_logit_bias: usize,
    pub(super) max_waiting: usize,
    pub(super) max_explain_tokens: usize,
    pub(super) retry_after_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCache {
    pub(super) promote_after: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdmin {
    pub(super) token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) filter: String,
    pub(super) format: String,
}
