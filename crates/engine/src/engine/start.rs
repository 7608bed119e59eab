//! From options to a running engine.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock, mpsc};

use tokio::sync::watch;
use tureen_kernels::{Compute, Isa, Team};
use tureen_soup::Pool;

use super::computing::Computing;
use super::{Engine, Inner};
use crate::budget::Budget;
use crate::checkpoint::Checkpoint;
use crate::error::EngineError;
use crate::kv::Kv;
use crate::model::{Gates, Weights};
use crate::options::EngineOptions;
use crate::scheduler::{Command, Scheduler, Setup};
use crate::soups::{Heat, Materials, Merger, SoupCache};
use crate::stats::Counters;

/// Commands that may wait for the scheduler. It takes all of them before each step.
const INBOX: usize = 1024;

impl Engine {
    /// Packs the base into memory and starts the scheduler.
    ///
    /// # Errors
    /// When an option makes no sense, the base cannot be read, the pool is another base's, or a thread cannot start.
    pub fn start(checkpoint: Arc<Checkpoint>, pool: Arc<Pool>, options: EngineOptions) -> Result<Self, EngineError> {
        check(&options)?;
        check_base(&checkpoint, &pool)?;
        let thread_error = |e: &dyn std::fmt::Display| EngineError::Thread(e.to_string());
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|i| format!("tureen-merge-{i}"))
            .build()
            .map_err(|e| thread_error(&e))?;
        let Computing { model, accelerator } = Computing::open(&checkpoint, &pool, &options)?;
        let (model, accelerator) = (Arc::new(model), accelerator.map(Arc::new));
        let base = Arc::new(threads.install(|| Weights::load(model.layout(), &*checkpoint))?);
        let gates = Gates::new(&pool, model.layout());
        let current = Arc::new(gates.map_err(|e| EngineError::DeviceFailed(e.to_string()))?);
        let team = Team::new(options.threads).map_err(|e| thread_error(&e))?;
        let compute = Arc::new(Compute::new(options.isa.unwrap_or_else(Isa::detect), team));
        let eos = Arc::from(model.config().eos_token_ids.as_slice());
        let (commands, inbox) = mpsc::sync_channel(INBOX);
        let wake = commands.clone();
        let wake = move || {
            // Full or closed: the scheduler is awake, or gone.
            let _ = wake.try_send(Command::Wake);
        };
        let budget = Budget::new(options.memory_budget, wake.clone());
        let isa = compute.isa();
        let materials =
            Materials { checkpoint: checkpoint.clone(), base: base.clone(), model: model.clone(), isa, accelerator };
        let merger = Merger::start(materials, threads, wake);
        let merger = Arc::new(merger.map_err(|e| thread_error(&e))?);
        let numbers = model.device().map(|device| device.numbers().clone());
        let kv = Kv::new(model.page_shape(), budget.clone(), options.prefix_cache, numbers);
        let soups = Arc::new(SoupCache::new(budget.clone(), kv.clone(), merger.clone()));
        let counters = Arc::<Counters>::default();
        let setup = Setup {
            model: model.clone(),
            base,
            compute: compute.clone(),
            budget: budget.clone(),
            kv: kv.clone(),
            soups: soups.clone(),
            counters: counters.clone(),
            max_batch_rows: options.max_batch_rows,
            prefill_chunk: options.prefill_chunk,
            speculation: options.speculation,
        };
        let (alive, healthy) = watch::channel(true);
        let alive = Alive(alive);
        let scheduler = Scheduler::new(setup, inbox);
        let thread = std::thread::Builder::new().name("tureen-scheduler".into()).spawn(move || {
            // Moved in: when this thread ends, however it does, the engine is not healthy any more.
            let _alive = alive;
            scheduler.run();
        });
        let inner = Inner {
            checkpoint,
            model,
            compute,
            gates: Mutex::new(BTreeMap::from([(*pool.revision(), Arc::downgrade(&current))])),
            current_gates: Mutex::new(current),
            pool: RwLock::new(pool),
            soups,
            budget,
            kv,
            heat: Heat::new(),
            merger,
            counters,
            places: Arc::default(),
            shadow_places: Arc::default(),
            eos,
            healthy,
            stopping: AtomicBool::new(false),
            commands,
            thread: Mutex::new(Some(thread.map_err(|e| thread_error(&e))?)),
            options,
        };
        Ok(Self(Arc::new(inner)))
    }
}

/// Marks the engine dead when its thread ends.
struct Alive(watch::Sender<bool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

fn check(options: &EngineOptions) -> Result<(), EngineError> {
    let sizes = [
        ("max_batch_rows", options.max_batch_rows),
        ("prefill_chunk", options.prefill_chunk),
        ("max_context", options.max_context),
    ];
    match sizes.into_iter().find(|(_, value)| *value == 0) {
        Some((name, _)) => Err(EngineError::Option { name, reason: "must be at least 1".into() }),
        None => Ok(()),
    }
}

pub(super) fn check_base(checkpoint: &Checkpoint, pool: &Pool) -> Result<(), EngineError> {
    let (pool, base) = (&pool.base().sha256, checkpoint.sha256());
    if pool == base {
        return Ok(());
    }
    Err(EngineError::OtherBase { pool: pool.clone(), base: base.to_owned() })
}
