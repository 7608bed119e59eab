//! The engine's face: submissions in, generations out.

mod beside;
mod computing;
mod score;
mod serving;
mod shadow;
mod start;
mod stats;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::TrySendError;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak, mpsc};
use std::thread::JoinHandle;

use tokio::sync::watch;
use tureen_kernels::{Compute, Precision};
use tureen_soup::{Pool, Revision, Soup};

use crate::answer::answer;
use crate::budget::Budget;
use crate::checkpoint::Checkpoint;
use crate::error::{EngineError, GenerationError, SubmitError};
use crate::event::{PathChoice, SoupPath};
use crate::generation::Generation;
use crate::kv::{Kv, PrefixKey, SequenceCache};
use crate::model::{Gates, Model};
use crate::options::EngineOptions;
use crate::sampling::{Sampler, SamplingParams, StopWatch, TextStream};
use crate::scheduler::{Admitted, Command, LogitsJob, Place, Rank, Sequence, Served};
use crate::soups::{Heat, Merger, SoupCache, State};
use crate::stats::Counters;
pub use beside::Beside;
pub use score::Text;
use start::check_base;

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
    shadow_places: Arc<AtomicUsize>,
    eos: Arc<[u32]>,
    /// Until the scheduler ends.
    healthy: watch::Receiver<bool>,
    stopping: AtomicBool,
    commands: mpsc::SyncSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
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
        self.enter(submission, Rank::Request)
    }

    fn enter(&self, submission: Submission, rank: Rank) -> Result<Generation, SubmitError> {
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
        let rows = inner.options.max_batch_rows;
        let (places, limit) = match rank {
            Rank::Request => (&inner.places, rows + inner.options.max_waiting),
            Rank::Shadow => (&inner.shadow_places, rows),
        };
        let place = Place::take(places, limit).ok_or(SubmitError::QueueFull)?;
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
        let admitted = Admitted { prompt, client, rank, served, prefix, cache, sampler, stops, eos, teller, place };
        inner.commands.try_send(Command::Submit(Box::new(Sequence::new(admitted)))).map_err(not_sent)?;
        Ok(Generation::new(path, listener, text, inner.commands.clone()))
    }

    /// Serves new requests from `pool`. Running ones end on the revision they began with.
    ///
    /// # Errors
    /// When the pool was made for another base, or a GPU fails; the old one stays.
    pub fn reload(&self, pool: Arc<Pool>) -> Result<(), EngineError> {
        check_base(&self.0.checkpoint, &pool)?;
        let gates = self.0.gates(&pool).map_err(EngineError::DeviceFailed)?;
        gates.uncover();
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

    /// Whether the scheduler is alive.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        *self.0.healthy.borrow()
    }

    /// Ready when the scheduler is not alive any more: it was shut down, its GPU is lost, or it crashed. All generations
    /// have ended then.
    pub async fn ended(&self) {
        // An error says that it is gone without a word.
        let _ = self.0.healthy.clone().wait_for(|healthy| !healthy).await;
    }

    /// The instruction set of the kernels, or `cuda`.
    #[must_use]
    pub fn isa(&self) -> &'static str {
        if self.0.model.device().is_some() { "cuda" } else { self.0.compute.isa().name() }
    }

    /// The number format of weights and activations: on a GPU bf16, whatever the options say.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.0.model.precision()
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

fn not_sent(error: TrySendError<Command>) -> SubmitError {
    match error {
        TrySendError::Full(_) => SubmitError::QueueFull,
        TrySendError::Disconnected(_) => SubmitError::ShuttingDown,
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Generations and the merger hold senders too, so the inbox does not close by itself: tell the scheduler to go.
        let _ = self.commands.send(Command::Shutdown);
    }
}
