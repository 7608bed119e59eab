//! The engine's face: submissions in, generations out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::TrySendError;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak, mpsc};
use std::thread::JoinHandle;

use tureen_kernels::{Compute, Isa, Team};
use tureen_soup::{Pool, Revision, Soup};

use crate::answer::answer;
use crate::budget::Budget;
use crate::checkpoint::Checkpoint;
use crate::error::{EngineError, GenerationError, SubmitError};
use crate::event::{PathChoice, SoupPath};
use crate::generation::Generation;
use crate::kv::{Kv, PrefixKey, SequenceCache};
use crate::model::{Gates, Layout, Mix, Model, Weights};
use crate::options::EngineOptions;
use crate::sampling::{Sampler, SamplingParams, StopWatch, TextStream};
use crate::scheduler::{Admitted, Command, LogitsJob, Merged, Place, Scheduler, Sequence, Served, Setup};
use crate::soups::{Heat, Materials, Merger, SoupCache, State};
use crate::stats::{Counters, EngineStats};

/// Commands that may wait for the scheduler. It takes all of them before each step.
const INBOX: usize = 1024;

/// What to generate.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Tokens of the prompt, at least one.
    pub prompt: Vec<u32>,
    /// The pool the soup was made from: a reload in between changes nothing for this submission.
    pub pool: Arc<Pool>,
    /// The soup.
    pub soup: Arc<Soup>,
    /// How to serve it.
    pub path: PathChoice,
    /// Whom it is for, as a hash: clients take turns. 0 for all who are not told apart.
    pub client: u64,
    /// How to choose tokens.
    pub params: SamplingParams,
}

/// A running engine. Clones share it; the last one that is dropped ends it.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    checkpoint: Arc<Checkpoint>,
    options: EngineOptions,
    model: Arc<Model>,
    compute: Arc<Compute>,
    pool: RwLock<Arc<Pool>>,
    /// The stacked policies of every revision that something still uses.
    gates: Mutex<BTreeMap<Revision, Weak<Gates>>>,
    /// Keeps the current revision's alive.
    current_gates: Mutex<Arc<Gates>>,
    budget: Arc<Budget>,
    kv: Arc<Kv>,
    soups: Arc<SoupCache>,
    heat: Heat,
    merger: Arc<Merger>,
    counters: Arc<Counters>,
    places: Arc<AtomicUsize>,
    eos: Arc<[u32]>,
    healthy: Arc<AtomicBool>,
    stopping: AtomicBool,
    commands: mpsc::SyncSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

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
        let config = checkpoint.config().clone();
        let layout = Layout { config: &config, precision: options.precision };
        let base = Arc::new(threads.install(|| Weights::load(layout, &*checkpoint))?);
        let team = Team::new(options.threads).map_err(|e| thread_error(&e))?;
        let compute = Arc::new(Compute::new(options.isa.unwrap_or_else(Isa::detect), team));
        let eos = Arc::from(config.eos_token_ids.as_slice());
        let layers = config.num_hidden_layers;
        let model = Arc::new(Model::new(config, options.precision, options.max_context));
        let (commands, inbox) = mpsc::sync_channel(INBOX);
        let wake = commands.clone();
        let wake = move || {
            // Full or closed: the scheduler is awake, or gone.
            let _ = wake.try_send(Command::Wake);
        };
        let budget = Budget::new(options.memory_budget, wake.clone());
        let isa = compute.isa();
        let materials = Materials { checkpoint: checkpoint.clone(), base: base.clone(), model: model.clone(), isa };
        let merger = Merger::start(materials, threads, wake);
        let merger = Arc::new(merger.map_err(|e| thread_error(&e))?);
        let kv = Kv::new(model.page_shape(), budget.clone(), options.prefix_cache);
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
        };
        let healthy = Arc::new(AtomicBool::new(true));
        let alive = Alive(healthy.clone());
        let scheduler = Scheduler::new(setup, inbox);
        let thread = std::thread::Builder::new().name("tureen-scheduler".into()).spawn(move || {
            // Moved in: when this thread ends, however it does, the engine is not healthy any more.
            let _alive = alive;
            scheduler.run();
        });
        let current = Arc::new(Gates::new(&pool, layers, options.precision));
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
            eos,
            healthy,
            stopping: AtomicBool::new(false),
            commands,
            thread: Mutex::new(Some(thread.map_err(|e| thread_error(&e))?)),
            options,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The pool that new requests are served from.
    #[must_use]
    pub fn pool(&self) -> Arc<Pool> {
        self.0.pool.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The base.
    #[must_use]
    pub fn checkpoint(&self) -> &Arc<Checkpoint> {
        &self.0.checkpoint
    }

    /// Takes a request. It waits for its turn and for memory; nothing is refused later for want of room.
    ///
    /// # Errors
    /// When the queue is full, it would not fit the memory if it were alone, the tokens are over the context, or the engine
    /// is shutting down.
    pub fn submit(&self, submission: Submission) -> Result<Generation, SubmitError> {
        let inner = &*self.0;
        let Submission { prompt, pool, soup, path, client, params } = submission;
        if inner.stopping.load(Ordering::Acquire) || !self.is_healthy() {
            return Err(SubmitError::ShuttingDown);
        }
        let tokens = prompt.len().saturating_add(params.max_new_tokens);
        if tokens > inner.options.max_context || prompt.is_empty() || params.max_new_tokens == 0 {
            return Err(SubmitError::PromptTooLong { tokens, context: inner.options.max_context });
        }
        inner.check_tokens(&prompt)?;
        let limit = inner.options.max_batch_rows + inner.options.max_waiting;
        let place = Place::take(&inner.places, limit).ok_or(SubmitError::QueueFull)?;
        // The last token is told, not computed.
        let positions = tokens - 1;
        let (path, served) = inner.serve(&pool, &soup, path, positions)?;
        let cache = SequenceCache::new(inner.kv.clone(), positions);
        let prefix = match path {
            _ if soup.is_base() => PrefixKey::Base,
            SoupPath::Gate => PrefixKey::Gate(*soup.id()),
            SoupPath::Materialised => PrefixKey::Materialised(*soup.id()),
        };
        let text = || TextStream::new(inner.checkpoint.tokenizer().detokenizer(), params.stop.clone());
        let (stops, text) = (StopWatch::new(text()), text());
        // Room for every token: the scheduler never waits for a slow reader.
        let (teller, listener) = answer(params.max_new_tokens);
        let sampler = Sampler::new(params, &prompt, inner.model.config().vocab_size);
        let eos = inner.eos.clone();
        let admitted = Admitted { prompt, client, served, prefix, cache, sampler, stops, eos, teller, place };
        inner.commands.try_send(Command::Submit(Box::new(Sequence::new(admitted)))).map_err(|e| match e {
            TrySendError::Full(_) => SubmitError::QueueFull,
            TrySendError::Disconnected(_) => SubmitError::ShuttingDown,
        })?;
        Ok(Generation::new(path, listener, text, inner.commands.clone()))
    }

    /// Serves new requests from `pool`. Running ones end on the revision they began with.
    ///
    /// # Errors
    /// When the pool was made for another base; the old one stays.
    pub fn reload(&self, pool: Arc<Pool>) -> Result<(), EngineError> {
        check_base(&self.0.checkpoint, &pool)?;
        let gates = self.0.gates(&pool);
        *self.0.current_gates.lock().unwrap_or_else(PoisonError::into_inner) = gates;
        *self.0.pool.write().unwrap_or_else(PoisonError::into_inner) = pool;
        Ok(())
    }

    /// Logits after each of `tokens`, (tokens, vocabulary), of a soup of the current pool. Waits for a merge.
    ///
    /// # Errors
    /// As submitting and merging can fail.
    pub fn logits(&self, soup: &Arc<Soup>, path: PathChoice, tokens: &[u32]) -> Result<Vec<Vec<f32>>, GenerationError> {
        let inner = &*self.0;
        if tokens.is_empty() || tokens.len() > inner.options.max_context {
            let context = inner.options.max_context;
            return Err(SubmitError::PromptTooLong { tokens: tokens.len(), context }.into());
        }
        inner.check_tokens(tokens)?;
        let (_, served) = inner.serve(&self.pool(), soup, path, tokens.len())?;
        if let Served::Materialised(merged) = &served {
            let Some(cell) = &merged.cell else {
                return Err(inner.out_of_memory(inner.soups.bytes(&merged.pool, soup)).into());
            };
            if let State::Failed(reason) = cell.wait() {
                return Err(GenerationError::Merge(reason));
            }
        }
        let (reply, answer) = mpsc::sync_channel(1);
        let job = LogitsJob { tokens: tokens.to_vec(), served, reply };
        let sent = inner.commands.send(Command::Logits(Box::new(job)));
        sent.map_err(|_| GenerationError::ShuttingDown)?;
        answer.recv().unwrap_or(Err(GenerationError::ShuttingDown))
    }

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
            gate_tokens: c.gate_tokens.load(relaxed),
            panics: c.panics.load(relaxed),
        }
    }

    /// Whether the scheduler is alive.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.0.healthy.load(Ordering::Acquire)
    }

    /// The instruction set of the kernels.
    #[must_use]
    pub fn isa(&self) -> &'static str {
        self.0.compute.isa().name()
    }

    /// Ends every generation with an error and the scheduler with it. Returns when it is gone.
    pub fn shutdown(&self) {
        self.0.stopping.store(true, Ordering::Release);
        // Gone already is as good.
        let _ = self.0.commands.send(Command::Shutdown);
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the scheduler had crashed");
        }
    }

    /// Makes the next step crash.
    #[cfg(test)]
    pub(crate) fn inject_panic(&self) {
        self.0.commands.send(Command::Panic).expect("the scheduler runs");
    }
}

impl Inner {
    fn check_tokens(&self, tokens: &[u32]) -> Result<(), SubmitError> {
        let vocabulary = self.model.config().vocab_size;
        match tokens.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) => Err(SubmitError::UnknownToken { id: *id, vocabulary }),
            None => Ok(()),
        }
    }

    fn out_of_memory(&self, needed: u64) -> SubmitError {
        SubmitError::OutOfMemory { needed, used: self.budget.used(), budget: self.budget.limit() }
    }

    /// Chooses the path for a sequence of `positions`. A soup that is asked for often is merged in the background and
    /// served by the gate meanwhile.
    fn serve(
        &self,
        pool: &Arc<Pool>,
        soup: &Arc<Soup>,
        choice: PathChoice,
        positions: usize,
    ) -> Result<(SoupPath, Served), SubmitError> {
        let pages = self.fits(self.kv.bytes(positions))?;
        if soup.is_base() {
            return Ok((SoupPath::Gate, Served::Gate(None)));
        }
        let wanted = choice != PathChoice::Materialised && pool.supports_gate(soup);
        let gates = wanted.then(|| self.gates(pool)).filter(|gates| gates.serves(soup));
        let hot = || (choice == PathChoice::Auto).then(|| self.hot(pool, soup)).flatten();
        let cell = match gates.zip(Mix::of(soup)) {
            Some((gates, mix)) => match hot().filter(|cell| self.fits(pages + cell.bytes()).is_ok()) {
                Some(cell) => Some(cell),
                None => return Ok((SoupPath::Gate, Served::Gate(Some((gates, mix))))),
            },
            None => {
                self.fits(pages + self.soups.bytes(pool, soup))?;
                // Without room now, the scheduler begins the merge when its turn comes.
                self.soups.get(pool, soup).ok()
            }
        };
        let merged = Merged { pool: pool.clone(), soup: soup.clone(), cell };
        Ok((SoupPath::Materialised, Served::Materialised(merged)))
    }

    /// Refuses what would not fit if it were alone.
    fn fits(&self, bytes: u64) -> Result<u64, SubmitError> {
        if bytes <= self.budget.limit() { Ok(bytes) } else { Err(self.out_of_memory(bytes)) }
    }

    /// The merged soup, when it is hot and ready.
    fn hot(&self, pool: &Arc<Pool>, soup: &Arc<Soup>) -> Option<Arc<crate::soups::SoupCell>> {
        if let Some(cell) = self.soups.ready(soup.id()) {
            return Some(cell);
        }
        let threshold = self.options.promote_after;
        if threshold > 0 && self.heat.count(soup.id()) >= threshold {
            // Without room the gate goes on serving it.
            let _ = self.soups.get(pool, soup);
        }
        None
    }

    /// The stacked policies of a revision; built again when the last user of an old one was gone.
    fn gates(&self, pool: &Arc<Pool>) -> Arc<Gates> {
        let mut known = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gates) = known.get(pool.revision()).and_then(Weak::upgrade) {
            return gates;
        }
        known.retain(|_, gates| gates.strong_count() > 0);
        let gates = Arc::new(Gates::new(pool, self.model.config().num_hidden_layers, self.model.precision()));
        known.insert(*pool.revision(), Arc::downgrade(&gates));
        gates
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Generations and the merger hold senders too, so the inbox does not close by itself: tell the scheduler to go.
        let _ = self.commands.send(Command::Shutdown);
    }
}

/// Marks the engine dead when its thread ends.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
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

fn check_base(checkpoint: &Checkpoint, pool: &Pool) -> Result<(), EngineError> {
    let (pool, base) = (&pool.base().sha256, checkpoint.sha256());
    if pool == base {
        return Ok(());
    }
    Err(EngineError::OtherBase { pool: pool.clone(), base: base.to_owned() })
}
