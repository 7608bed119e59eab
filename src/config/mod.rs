//! Configuration: the shipped `config.toml` is the set of defaults, a file and the environment override it.
//!
//! `RawConfig` is what was typed, [`Config`] is what it means: durations, byte counts, parsed addresses.

mod layers;
mod raw;
mod secret;
mod validate;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tureen_engine::{DeviceChoice, Isa, Precision};
use tureen_soup::learn;
use tureen_soup::rules::Rules;

use crate::guard::Chain;

pub use layers::DEFAULTS;
pub use secret::Secret;

/// Everything that can be wrong with a configuration. Each message names the key and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {path}: {source}; check the path given to --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not valid TOML: {source}")]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A section or key that does not exist.
    #[error("{origin}: there is no key `{key}`; known here: {known}")]
    UnknownKey {
        /// The file or variable.
        origin: String,
        /// What was asked for.
        key: String,
        /// What exists.
        known: String,
    },
    /// A value of another type than the default has.
    #[error("{origin}: `{key}` must be {expected}, got {got}")]
    WrongType {
        /// The file or variable.
        origin: String,
        /// The key.
        key: String,
        /// The type of the default.
        expected: &'static str,
        /// What was found.
        got: String,
    },
    /// A value of the right type that the key cannot hold: a negative count, an unknown word.
    #[error("`{key}`: {reason}")]
    OutOfRange {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A value outside what the key allows.
    #[error("`{key}` = {value}: {reason}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// What was found.
        value: String,
        /// What is allowed.
        reason: String,
    },
}

/// The validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listener and timeouts.
    pub server: Server,
    /// The base model and where to get it.
    pub base: Base,
    /// The pool of policies.
    pub pool: Pool,
    /// How a second revision is tried.
    pub rollout: Rollout,
    /// The inference engine.
    pub engine: Engine,
    /// Who is served.
    pub auth: Auth,
    /// Where profiles and keys are kept.
    pub store: Store,
    /// What preferences may ask for.
    pub rules: Rules,
    /// What is looked for in prompts and answers.
    pub guard: Guard,
    /// What is recorded of each answer.
    pub audit: Audit,
    /// How preferences are learned.
    pub learning: Learning,
    /// What one request may ask for.
    pub limits: Limits,
    /// Requests for one soup before it is merged and kept; 0 never merges.
    pub promote_after: u32,
    /// Bearer token of the admin routes.
    pub admin_token: Option<Secret>,
    /// Logging.
    pub log: Log,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Address to listen on.
    pub bind: SocketAddr,
    /// Time for a request head to arrive.
    pub header_timeout: Duration,
    /// Time for a request body to arrive.
    pub body_timeout: Duration,
    /// Time for one generation.
    pub request_timeout: Duration,
    /// Interval of comments on a silent event stream.
    pub keep_alive: Duration,
    /// Time that running streams get after a shutdown signal.
    pub shutdown_grace: Duration,
    /// Certificate and key; `None` serves plain HTTP.
    pub tls: Option<Tls>,
}

/// `[server] tls_cert`, `tls_key`
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate and those between it and the root, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// `[base]`
#[derive(Debug, Clone)]
pub struct Base {
    /// GGUF file or folder in the Hugging Face layout.
    pub path: PathBuf,
    /// Where to fetch it from, in order.
    pub sources: Vec<String>,
}

/// `[pool]`
#[derive(Debug, Clone)]
pub struct Pool {
    /// Folder that holds `pool.toml`; `None` serves the base alone.
    pub dir: Option<PathBuf>,
    /// Folder of the revision that a roll-out tries; `None` takes `dir` as it is then.
    pub candidate_dir: Option<PathBuf>,
    /// How full-weight policies are held.
    pub weights: PoolWeights,
}

/// `[rollout]`
#[derive(Debug, Clone)]
pub struct Rollout {
    /// Keys the hash that chooses users.
    pub salt: String,
    /// Outcomes of each revision that are looked at, the last ones.
    pub window: usize,
    /// Outcomes of the candidate before it can be rolled back for them.
    pub min_requests: usize,
    /// The largest share of errors of the candidate.
    pub max_error_rate: f64,
    /// By how much it may be larger than the stable revision's.
    pub max_error_rise: f64,
}

/// How full-weight policies are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolWeights {
    /// Mapped from the file.
    Mapped,
    /// Read into memory.
    Read,
}

/// `[engine]`
#[derive(Debug, Clone)]
pub struct Engine {
    /// Compute threads, at least 1.
    pub threads: usize,
    /// Number format of weights and activations.
    pub precision: Precision,
    /// Instruction set of the kernels; `None` takes the widest.
    pub isa: Option<Isa>,
    /// What computes.
    pub device: DeviceChoice,
    /// Bytes for KV cache and materialised soups together.
    pub memory_budget: u64,
    /// Bytes of it that KV pages may keep for prompts to come; 0 keeps none.
    pub prefix_cache: u64,
    /// Sequences computed together.
    pub max_batch_rows: usize,
    /// Prompt tokens computed in one step.
    pub prefill_chunk: usize,
    /// Try several tokens in one step where an answer repeats what was said.
    pub speculation: bool,
}

/// `[auth]`
#[derive(Debug, Clone)]
pub struct Auth {
    /// Ask for keys on loopback addresses as well.
    pub always: bool,
    /// Ask nobody.
    pub allow_anonymous: bool,
    /// Requests of one key in a minute; 0 is no limit.
    pub rate_per_minute: u32,
    /// Requests of one key at a time; 0 is no limit.
    pub concurrency: u32,
}

/// `[store]`
#[derive(Debug, Clone)]
pub struct Store {
    /// The database, whose URL may hold a password; `None` keeps nothing.
    pub url: Option<Secret>,
    /// Connections that read.
    pub max_connections: u32,
    /// The longest that a look-up or a change may take.
    pub timeout: Duration,
    /// Profiles held in memory.
    pub cached_profiles: u64,
    /// How long a change is known by its Idempotency-Key.
    pub idempotency: Duration,
}

/// `[guard]`
#[derive(Debug, Clone)]
pub struct Guard {
    /// The checks, in their order.
    pub chain: Chain,
    /// How long what was held is kept.
    pub keep: Duration,
    /// How much may be held.
    pub max_reviews: u64,
}

/// `[audit]`
#[derive(Debug, Clone)]
pub struct Audit {
    /// Folder of the log; `None` keeps none.
    pub dir: Option<PathBuf>,
    /// The secret that chains it.
    pub key: Option<Secret>,
    /// File that holds the secret.
    pub key_file: Option<PathBuf>,
    /// Also record prompts and answers.
    pub text: bool,
    /// When records are brought to the disk.
    pub fsync: Fsync,
    /// Bytes after which a new segment begins.
    pub segment_bytes: u64,
}

/// `[learning]`
#[derive(Debug, Clone)]
pub struct Learning {
    /// How choices are read.
    pub model: learn::Learning,
    /// Bytes of answers that feedback can name by request id.
    pub recent_bytes: u64,
    /// Whether the store has them too, for other replicas and after a restart.
    pub stores_answers: bool,
    /// How long preference pairs are kept for training; zero keeps none.
    pub pairs: Duration,
}

impl Learning {
    /// Whether preference pairs are kept.
    pub fn keeps_pairs(&self) -> bool {
        !self.pairs.is_zero()
    }
}

/// When records are brought to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// Before the answer ends.
    Always,
    /// Every second.
    Interval,
    /// When the system does it.
    Never,
}

/// Every bound on a request, in one place: meaning and default are in `config.toml`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request body.
    pub max_body_bytes: usize,
    /// Tokens of prompt and answer together.
    pub max_context_tokens: usize,
    /// The most new tokens one request may ask for.
    pub max_new_tokens: usize,
    /// New tokens when a request does not say.
    pub default_new_tokens: usize,
    /// Messages in one conversation.
    pub max_messages: usize,
    /// Stop sequences in one request.
    pub max_stop_sequences: usize,
    /// Entries of `logit_bias`.
    pub max_logit_bias: usize,
    /// Tokens read to explain one answer, over all policies.
    pub max_explain_tokens: usize,
    /// Requests waiting for a place in the batch.
    pub max_waiting: usize,
    /// Seconds a refused client is told to wait.
    pub retry_after_s: u64,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// Filter in the syntax of `RUST_LOG`.
    pub filter: String,
    /// One JSON object per line instead of text.
    pub json: bool,
}

impl Config {
    /// Reads the defaults, then `file`, then `TUREEN__SECTION__KEY` variables from `env`.
    ///
    /// # Errors
    /// Any key that does not exist, has the wrong type or an impossible value.
    pub fn load(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        validate::resolve(layers::merge(file, env)?)
    }

    /// [`Config::load`] with this process's environment.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_process(file: Option<&Path>) -> Result<Self, ConfigError> {
        // vars_os: a variable that is not UTF-8 and none of ours must not stop the server.
        let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::load(file, env)
    }
}
