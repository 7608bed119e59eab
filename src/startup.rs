//! Opening what the engine needs: the base, the pool, and the proof that they fit.

use std::path::Path;
use std::sync::Arc;

use tureen_engine::{Checkpoint, Engine, EngineError, EngineOptions};
use tureen_soup::{Pool, PoolError, PoolOptions, Weights};

use crate::audit::Audit;
use crate::auth::Auth;
use crate::config::{Config, PoolWeights};
use crate::exit::Failure;
use crate::store::Store;
use crate::tls::Tls;

/// Everything that is wrong with a pool.
#[derive(Debug)]
pub struct PoolFailure {
    /// One line per problem.
    pub problems: Vec<String>,
}

/// Opens the base. `hint` of the message: how to get one.
///
/// # Errors
/// Exit 78 with what to do.
pub fn open_base(config: &Config) -> Result<Arc<Checkpoint>, Failure> {
    let path = &config.base.path;
    if !path.exists() {
        let path = path.display();
        return Err(Failure::Config(format!("the base {path} is missing; run `tureen pull`, or set [base] path")));
    }
    let open = Checkpoint::open(path);
    open.map(Arc::new).map_err(|e| Failure::Config(format!("the base {} cannot be used: {e}", path.display())))
}

/// Opens the pool and checks it against the base, and the configured rules against the pool.
///
/// # Errors
/// Every problem there is, not only the first.
pub fn open_pool(config: &Config, base: &Checkpoint) -> Result<Pool, PoolFailure> {
    open_in(config, config.pool.dir.as_deref(), base)
}

/// As [`open_pool`], for the revision that a roll-out tries.
///
/// # Errors
/// As [`open_pool`].
pub fn open_candidate(config: &Config, base: &Checkpoint) -> Result<Pool, PoolFailure> {
    open_in(config, config.pool.candidate_dir.as_deref().or(config.pool.dir.as_deref()), base)
}

fn open_in(config: &Config, dir: Option<&Path>, base: &Checkpoint) -> Result<Pool, PoolFailure> {
    let pool = read_pool(dir, config.pool.weights, base)?;
    let unknown = config.rules.unknown(&pool).into_iter();
    let problems: Vec<_> =
        unknown.map(|name| format!("[rules] names {name:?}, which the pool does not have")).collect();
    if problems.is_empty() { Ok(pool) } else { Err(PoolFailure { problems }) }
}

fn read_pool(dir: Option<&Path>, weights: PoolWeights, base: &Checkpoint) -> Result<Pool, PoolFailure> {
    let facts = base.base_facts();
    let Some(dir) = dir else { return Ok(Pool::empty(facts.identity())) };
    let weights = match weights {
        PoolWeights::Mapped => Weights::Mapped,
        PoolWeights::Read => Weights::Read,
    };
    let mut pool = Pool::open(dir, &PoolOptions { weights }).map_err(|e| PoolFailure::from(&e))?;
    pool.check_base(&facts).map_err(|e| PoolFailure::from(&e))?;
    let values = |name: &str| base.tensor(name).ok()?.flatten_all().ok()?.to_vec1().ok();
    pool.measure(values).map_err(|e| PoolFailure { problems: vec![e.to_string()] })?;
    Ok(pool)
}

impl From<&PoolError> for PoolFailure {
    fn from(error: &PoolError) -> Self {
        Self {
            problems: match error {
                PoolError::Invalid(problems) => problems.iter().map(ToString::to_string).collect(),
                other => vec![other.to_string()],
            },
        }
    }
}

/// Base and pool, checked, and a GPU that was asked for looked up; what `tureen check` stops at.
///
/// # Errors
/// Exit 78 with every problem.
pub fn open(config: &Config) -> Result<(Arc<Checkpoint>, Arc<Pool>), Failure> {
    config.engine.device.check().map_err(refused_device)?;
    let base = open_base(config)?;
    let hint = "Restore the pool as it was published, or set [pool] dir (\"\" serves the base alone).";
    let pool = open_pool(config, &base).map_err(|failure| failure.of(config.pool.dir.as_deref(), hint))?;
    Ok((base, Arc::new(pool)))
}

/// The revision in `[pool] candidate_dir`, checked against `base`; `None` when nothing was published there.
///
/// # Errors
/// Exit 78 with every problem.
pub fn published_candidate(config: &Config, base: &Checkpoint) -> Result<Option<Arc<Pool>>, Failure> {
    let Some(dir) = config.pool.candidate_dir.as_deref().filter(|dir| dir.join(MANIFEST).exists()) else {
        return Ok(None);
    };
    let hint = "Restore the pool as it was published, or set [pool] candidate_dir.";
    let pool = open_candidate(config, base).map_err(|failure| failure.of(Some(dir), hint))?;
    Ok(Some(Arc::new(pool)))
}

/// What every folder of a pool holds.
const MANIFEST: &str = "pool.toml";

impl PoolFailure {
    fn of(self, dir: Option<&Path>, hint: &str) -> Failure {
        let (dir, list) = (dir.unwrap_or("".as_ref()).display(), self.problems.join("\n  "));
        Failure::Config(format!("the pool {dir} is refused:\n  {list}\n{hint}"))
    }
}

/// Opens the store and reads who may use this server.
///
/// # Errors
/// Exit 78 when the store cannot be used, and when keys are required and there is none.
pub async fn open_store(config: &Config) -> Result<(Option<Store>, Auth), Failure> {
    let store = Store::open(&config.store).await.map_err(Failure::config)?;
    let auth = Auth::open(config, store.as_ref()).await.map_err(Failure::config)?;
    if auth.is_locked_out() {
        return Err(Failure::Config(format!(
            "{} is no loopback address or [auth] require_keys is \"always\", so requests need a key, and there is none: \
             make one with `tureen keys add --name NAME`, set [admin] token, or let everyone in with [auth] \
             allow_anonymous = true",
            config.server.bind
        )));
    }
    Ok((store, auth))
}

/// Opens the audit log, if there is to be one.
///
/// # Errors
/// Exit 78 when it cannot be written, or is not as it was left.
pub fn open_audit(config: &Config) -> Result<Option<Audit>, Failure> {
    Audit::open(&config.audit).map_err(Failure::config)
}

/// Reads the certificate, if the server is to speak TLS.
///
/// # Errors
/// Exit 78 with the file that cannot be used.
pub fn open_tls(config: &Config) -> Result<Option<Tls>, Failure> {
    config.server.tls.as_ref().map(Tls::open).transpose().map_err(Failure::config)
}

fn refused_device(error: impl std::fmt::Display) -> Failure {
    Failure::Config(format!("[engine] device: {error}; \"auto\" and \"cpu\" do without"))
}

/// Starts the engine.
///
/// # Errors
/// Exit 78 when the GPU that was asked for cannot be used, 70 when it cannot run on this machine.
pub fn start_engine(config: &Config, base: Arc<Checkpoint>, pool: Arc<Pool>) -> Result<Engine, Failure> {
    let max_context = config.limits.max_context_tokens.min(base.config().max_position_embeddings);
    let options = EngineOptions {
        threads: config.engine.threads,
        memory_budget: config.engine.memory_budget,
        max_batch_rows: config.engine.max_batch_rows,
        max_waiting: config.limits.max_waiting,
        prefill_chunk: config.engine.prefill_chunk,
        prefix_cache: config.engine.prefix_cache,
        speculation: config.engine.speculation,
        max_context,
        promote_after: config.promote_after,
        precision: config.engine.precision,
        device: config.engine.device,
        isa: config.engine.isa,
    };
    Engine::start(base, pool, options).map_err(|e| match e {
        EngineError::Device(_) | EngineError::DeviceMemory { .. } => refused_device(e),
        e => Failure::Engine(format!("the engine does not start: {e}")),
    })
}
