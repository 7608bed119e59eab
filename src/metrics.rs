//! Every metric and every label, in this file alone.
//!
//! Names follow vLLM's where the meaning is the same, so that dashboards carry over. No label ever holds anything a
//! client sent: routes are patterns, methods, reasons and codes are closed sets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tureen_engine::{EngineStats, FinishReason, SoupPath};

use crate::guard::Decision;
use crate::live::Reason;
use crate::profiles::Source;
use crate::rollout::{Arm, Cause};
use crate::wire::answer::path_name;

/// The content type of [`Metrics::scrape`].
pub const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const SECONDS: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 300.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    finished_reason: End,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PathLabels {
    path: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GuardLabels {
    /// As the configuration names it.
    check: String,
    side: &'static str,
    action: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RevisionLabels {
    revision: Arm,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RevisionEndLabels {
    revision: Arm,
    finished_reason: End,
}

/// Not the revision itself: two values, however many revisions there were.
impl EncodeLabelValue for Arm {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> std::fmt::Result {
        let word = match self {
            Self::Stable => "stable",
            Self::Candidate => "candidate",
        };
        EncodeLabelValue::encode(&word, encoder)
    }
}

/// How a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The limit of new tokens was reached.
    Length,
    /// The model ended its answer, or a stop sequence did.
    Stop,
    /// A check of the server ended it.
    ContentFilter,
    /// A person has to decide about it.
    Held,
    /// The client left.
    Abort,
    /// An error ended it.
    Error,
}

/// How a generation of a candidate ended that nobody got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShadowEnd {
    /// It was whole.
    Finished,
    /// It failed.
    Error,
    /// There was no room for it, no time, or nobody who wanted to know any more.
    Dropped,
}

impl EncodeLabelValue for End {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> std::fmt::Result {
        let word = match self {
            Self::Length => "length",
            Self::Stop => "stop",
            Self::ContentFilter => "content_filter",
            Self::Held => "held",
            Self::Abort => "abort",
            Self::Error => "error",
        };
        EncodeLabelValue::encode(&word, encoder)
    }
}

impl From<Reason> for End {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Engine(FinishReason::Length) => Self::Length,
            Reason::Engine(FinishReason::EosToken | FinishReason::StopSequence) => Self::Stop,
            Reason::ContentFilter => Self::ContentFilter,
            Reason::Held => Self::Held,
        }
    }
}

/// The server's metrics. Counting is lock-free or nearly so; the registry's lock is held by scrapes alone.
pub struct Metrics {
    registry: Mutex<Registry>,
    http_requests: Family<HttpLabels, Counter>,
    ended: Family<EndLabels, Counter>,
    served: Family<PathLabels, Counter>,
    refused: Family<CodeLabels, Counter>,
    reloads: Family<OutcomeLabels, Counter>,
    tls_reloads: Family<OutcomeLabels, Counter>,
    rollouts: Family<CauseLabels, Counter>,
    shadows: Family<OutcomeLabels, Counter>,
    revisions: RevisionMetrics,
    lookups: Family<SourceLabels, Counter>,
    guarded: Family<GuardLabels, Counter>,
    listening: Gauge,
    prompt_tokens: Counter,
    generation_tokens: Counter,
    first_token: Histogram,
    inter_token: Histogram,
    whole_request: Histogram,
    policies: Gauge,
    engine: EngineMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tureen");
        let r = &mut registry;
        let histogram = |r: &mut Registry, name: &str, help: &str| {
            let histogram = Histogram::new(SECONDS);
            r.register(name, help, histogram.clone());
            histogram
        };
        Self {
            http_requests: family(r, "http_requests", "Answers by route pattern, method and status"),
            ended: family(r, "request_success", "Generations by how they ended"),
            served: family(r, "soups_served", "Generations by the path that serves their soup"),
            refused: family(r, "generations_refused", "Generations refused before they began, by code"),
            lookups: family(r, "profile_lookups", "Profiles that generations asked for, by where they were found"),
            guarded: family(r, "guard_decisions", "What checks of prompts and answers found"),
            listening: gauge(r, "store_listening", "1 while changes by other replicas are heard as they are made"),
            tls_reloads: family(r, "tls_reloads", "New certificates by outcome"),
            rollouts: family(r, "rollouts", "Roll-outs that ended, by cause"),
            shadows: family(r, "rollout_shadows", "Generations of a candidate that nobody got, by outcome"),
            revisions: RevisionMetrics::register(r),
            reloads: family(r, "pool_reloads", "Reloads of the pool by outcome"),
            prompt_tokens: counter(r, "prompt_tokens", "Prompt tokens of finished generations"),
            generation_tokens: counter(r, "generation_tokens", "Generated tokens of finished generations"),
            first_token: histogram(r, "time_to_first_token_seconds", "From submission to the first token"),
            inter_token: histogram(r, "inter_token_latency_seconds", "Between two tokens of one generation"),
            whole_request: histogram(r, "e2e_request_latency_seconds", "From submission to the end, however it ended"),
            policies: gauge(r, "pool_policies", "Policies in the pool"),
            engine: EngineMetrics::register(r),
            registry: Mutex::new(registry),
        }
    }
}

impl Metrics {
    /// One answer. `route` is a pattern of ours.
    pub fn http(&self, method: &'static str, route: &str, status: u16) {
        self.http_requests.get_or_create(&HttpLabels { method, route: route.to_owned(), status }).inc();
    }

    /// A generation was taken and is served on `path`.
    pub fn served_on(&self, path: SoupPath) {
        self.served.get_or_create(&PathLabels { path: path_name(path) }).inc();
    }

    /// A generation was refused.
    pub fn refused(&self, code: &'static str) {
        self.refused.get_or_create(&CodeLabels { code }).inc();
    }

    /// The pool was reloaded, or stayed.
    pub fn reloaded(&self, ok: bool) {
        let outcome = if ok { "swapped" } else { "refused" };
        self.reloads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A new certificate was taken, or refused.
    pub fn tls_reloaded(&self, ok: bool) {
        let outcome = if ok { "swapped" } else { "refused" };
        self.tls_reloads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A generation asked for a profile.
    pub fn profile_looked_up(&self, source: Source) {
        let source = match source {
            Source::Cache => "cache",
            Source::Store => "store",
        };
        self.lookups.get_or_create(&SourceLabels { source }).inc();
    }

    /// Whether changes by other replicas are heard.
    pub fn listening(&self, is: bool) {
        self.listening.set(is.into());
    }

    /// Checks decided.
    pub fn guarded(&self, decisions: &[Decision]) {
        for Decision { check, side, action, count } in decisions {
            let labels = GuardLabels { check: check.to_string(), side: side.name(), action };
            self.guarded.get_or_create(&labels).inc_by(*count as u64);
        }
    }

    /// A roll-out ended.
    pub fn rollout_ended(&self, cause: Cause) {
        self.rollouts.get_or_create(&CauseLabels { cause: cause.name() }).inc();
    }

    /// Time from submission to the first token.
    pub fn first_token(&self, took: Duration) {
        self.first_token.observe(took.as_secs_f64());
    }

    /// The same for the revision that served, shadows included.
    pub fn revision_first_token(&self, arm: Arm, took: Duration) {
        self.revisions.first_token.get_or_create(&RevisionLabels { revision: arm }).observe(took.as_secs_f64());
    }

    /// Tokens that a revision generated, shadows included.
    pub fn revision_tokens(&self, arm: Arm, generated: usize) {
        self.revisions.tokens.get_or_create(&RevisionLabels { revision: arm }).inc_by(generated as u64);
    }

    /// A generation of a revision is over, or a shadow that was not dropped.
    pub fn revision_ended(&self, arm: Arm, end: End, took: Duration) {
        self.revisions.ended(arm, end, took);
    }

    /// A shadow is over.
    pub fn shadow(&self, end: ShadowEnd) {
        let outcome = match end {
            ShadowEnd::Finished => "finished",
            ShadowEnd::Error => "error",
            ShadowEnd::Dropped => "dropped",
        };
        self.shadows.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Time between two tokens.
    pub fn inter_token(&self, took: Duration) {
        self.inter_token.observe(took.as_secs_f64());
    }

    /// Tokens of a finished generation.
    pub fn tokens(&self, prompt: usize, generated: usize) {
        self.prompt_tokens.inc_by(prompt as u64);
        self.generation_tokens.inc_by(generated as u64);
    }

    /// A generation is over.
    pub fn ended(&self, end: End, took: Duration) {
        self.ended.get_or_create(&EndLabels { finished_reason: end }).inc();
        self.whole_request.observe(took.as_secs_f64());
    }

    /// OpenMetrics text, with the engine's numbers as they are now.
    pub fn scrape(&self, stats: &EngineStats, policies: usize) -> String {
        self.policies.set(policies as i64);
        self.engine.set(stats);
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing to a String does not fail");
        text
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn family<S>(registry: &mut Registry, name: &str, help: &str) -> Family<S, Counter>
where
    S: EncodeLabelSet + Clone + std::hash::Hash + Eq + std::fmt::Debug + Send + Sync + 'static,
{
    let family = Family::<S, Counter>::default();
    registry.register(name, help, family.clone());
    family
}

/// What is told of both revisions of a roll-out; everything is stable without one.
struct RevisionMetrics {
    ended: Family<RevisionEndLabels, Counter>,
    tokens: Family<RevisionLabels, Counter>,
    first_token: Histograms,
    whole_request: Histograms,
}

type Histograms = Family<RevisionLabels, Histogram, fn() -> Histogram>;

impl RevisionMetrics {
    fn register(r: &mut Registry) -> Self {
        let histograms = |r: &mut Registry, name: &str, help: &str| {
            let family: Histograms = Family::new_with_constructor(|| Histogram::new(SECONDS));
            r.register(name, help, family.clone());
            family
        };
        Self {
            ended: family(r, "revision_generations", "Generations by revision and how they ended"),
            tokens: family(r, "revision_generation_tokens", "Generated tokens of finished generations by revision"),
            first_token: histograms(r, "revision_time_to_first_token_seconds", "To the first token, by revision"),
            whole_request: histograms(r, "revision_e2e_request_latency_seconds", "To the end, by revision"),
        }
    }

    fn ended(&self, arm: Arm, end: End, took: Duration) {
        self.ended.get_or_create(&RevisionEndLabels { revision: arm, finished_reason: end }).inc();
        self.whole_request.get_or_create(&RevisionLabels { revision: arm }).observe(took.as_secs_f64());
    }
}

/// The engine's own numbers, copied at each scrape.
struct EngineMetrics {
    running: Gauge,
    shadows: Gauge,
    waiting: Gauge,
    kv_usage: Real,
    memory_budget: Gauge,
    memory_used: Gauge,
    kv_bytes: Gauge,
    soups: Gauge,
    soup_bytes: Gauge,
    merges: Counter,
    merge_failures: Counter,
    merge_seconds: Seconds,
    steps: Counter,
    step_seconds: Seconds,
    prefill_tokens: Counter,
    decode_tokens: Counter,
    gate_tokens: Counter,
    drafted_tokens: Counter,
    accepted_tokens: Counter,
    prefix_bytes: Gauge,
    prefix_hits: Counter,
    preemptions: Counter,
    panics: Counter,
}

type Real = Gauge<f64, AtomicU64>;
type Seconds = Counter<f64, AtomicU64>;

impl EngineMetrics {
    fn register(r: &mut Registry) -> Self {
        Self {
            running: gauge(r, "num_requests_running", "Rows in the batch"),
            shadows: gauge(r, "num_shadows_running", "Rows in the batch that nobody waits for"),
            waiting: gauge(r, "num_requests_waiting", "Requests waiting for a place in the batch"),
            kv_usage: real(
                r,
                "kv_cache_usage_ratio",
                "Share of the memory budget that KV caches hold, kept prefixes aside, 0 to 1",
            ),
            memory_budget: gauge(r, "memory_budget_bytes", "Budget for KV caches and materialised soups"),
            memory_used: gauge(r, "memory_used_bytes", "Bytes leased from the budget"),
            kv_bytes: gauge(r, "kv_cache_bytes", "Bytes leased for KV caches"),
            soups: gauge(r, "soup_cache_entries", "Materialised soups in the cache"),
            soup_bytes: gauge(r, "soup_cache_bytes", "Bytes of the materialised soups in the cache"),
            merges: counter(r, "merges", "Soups merged, failed ones included"),
            merge_failures: counter(r, "merge_failures", "Merges that failed"),
            merge_seconds: seconds(r, "merge_seconds", "Time spent merging"),
            steps: counter(r, "steps", "Steps of the scheduler"),
            step_seconds: seconds(r, "step_seconds", "Time spent in steps"),
            prefill_tokens: counter(r, "prefill_tokens", "Prompt tokens computed"),
            decode_tokens: counter(r, "decode_tokens", "Tokens sampled"),
            gate_tokens: counter(r, "gate_tokens", "Tokens computed with a gate"),
            drafted_tokens: counter(r, "spec_decode_num_draft_tokens", "Tokens drafted before they were chosen"),
            accepted_tokens: counter(r, "spec_decode_num_accepted_tokens", "Drafted tokens that were chosen"),
            prefix_bytes: gauge(r, "prefix_cache_bytes", "Bytes of the KV caches that are kept for prompts to come"),
            prefix_hits: counter(r, "prefix_hit_tokens", "Prompt tokens found in the prefix cache, not computed"),
            preemptions: counter(r, "preemptions", "Times a running request gave its KV cache to older ones"),
            panics: counter(r, "step_panics", "Steps that crashed and were contained"),
        }
    }

    fn set(&self, stats: &EngineStats) {
        // Destructured, so that a new number cannot be forgotten here.
        let EngineStats {
            running,
            shadows,
            waiting,
            memory_budget_bytes,
            memory_used_bytes,
            kv_cache_bytes,
            prefix_cache_bytes,
            soup_cache_entries,
            soup_cache_bytes,
            merges,
            merge_failures,
            merge_seconds,
            steps,
            step_seconds,
            prefill_tokens,
            decode_tokens,
            gate_tokens,
            drafted_tokens,
            accepted_tokens,
            prefix_hit_tokens,
            preemptions,
            panics,
        } = *stats;
        self.running.set(running as i64);
        self.shadows.set(shadows as i64);
        self.waiting.set(waiting as i64);
        let in_use = kv_cache_bytes.saturating_sub(prefix_cache_bytes);
        self.kv_usage.set(in_use as f64 / memory_budget_bytes.max(1) as f64);
        self.memory_budget.set(memory_budget_bytes as i64);
        self.memory_used.set(memory_used_bytes as i64);
        self.kv_bytes.set(kv_cache_bytes as i64);
        self.soups.set(soup_cache_entries as i64);
        self.soup_bytes.set(soup_cache_bytes as i64);
        copy(&self.merges, merges);
        copy(&self.merge_failures, merge_failures);
        copy_seconds(&self.merge_seconds, merge_seconds);
        copy(&self.steps, steps);
        copy_seconds(&self.step_seconds, step_seconds);
        copy(&self.prefill_tokens, prefill_tokens);
        copy(&self.decode_tokens, decode_tokens);
        copy(&self.gate_tokens, gate_tokens);
        copy(&self.drafted_tokens, drafted_tokens);
        copy(&self.accepted_tokens, accepted_tokens);
        self.prefix_bytes.set(prefix_cache_bytes as i64);
        copy(&self.prefix_hits, prefix_hit_tokens);
        copy(&self.preemptions, preemptions);
        copy(&self.panics, panics);
    }
}

fn real(registry: &mut Registry, name: &str, help: &str) -> Real {
    let gauge = Real::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn seconds(registry: &mut Registry, name: &str, help: &str) -> Seconds {
    let counter = Seconds::default();
    registry.register(name, help, counter.clone());
    counter
}

/// The engine counts; this shows its count. `fetch_max`: two scrapes at once never turn a counter back.
fn copy(shown: &Counter, count: u64) {
    shown.inner().fetch_max(count, Ordering::Relaxed);
}

fn copy_seconds(shown: &Seconds, count: f64) {
    // Positive floats are ordered as their bits are.
    shown.inner().fetch_max(count.to_bits(), Ordering::Relaxed);
}
