//! One request inside the scheduler. Dropping it frees its row, its memory and its place in the queue.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc;

use crate::error::GenerationError;
use crate::event::{Event, FinishReason};
use crate::model::{Gates, KvCache, Mix};
use crate::sampling::{Sampler, TextStream};
use crate::soups::SoupCell;

/// A place among the requests that are running or waiting, given back on drop.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes a place if fewer than `limit` are taken.
    pub(crate) fn take(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let below = |n: usize| (n < limit).then_some(n + 1);
        taken.fetch_update(Relaxed, Relaxed, below).ok()?;
        Some(Self(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Where a sequence's parameters come from.
#[derive(Clone)]
pub(crate) enum Served {
    /// The base, with a gate unless the soup is the base itself.
    Gate(Option<(Arc<Gates>, Arc<Mix>)>),
    /// Merged weights, perhaps not ready yet.
    Materialised(Arc<SoupCell>),
}

/// What admission hands over.
pub(crate) struct Admitted {
    pub(crate) prompt: Vec<u32>,
    pub(crate) served: Served,
    pub(crate) cache: KvCache,
    pub(crate) sampler: Sampler,
    pub(crate) text: TextStream,
    pub(crate) eos: Arc<[u32]>,
    /// Room for a whole answer.
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) place: Place,
}

/// A request from admission to its end.
pub(crate) struct Sequence {
    /// Prompt, then answer.
    pub(super) tokens: Vec<u32>,
    pub(super) served: Served,
    pub(super) cache: KvCache,
    /// Tokens whose keys and values are cached.
    pub(super) computed: usize,
    prompt_tokens: usize,
    sampler: Sampler,
    text: TextStream,
    eos: Arc<[u32]>,
    events: mpsc::Sender<Event>,
    _place: Place,
}

impl Sequence {
    pub(crate) fn new(admitted: Admitted) -> Self {
        let Admitted { prompt, served, cache, sampler, text, eos, events, place } = admitted;
        let prompt_tokens = prompt.len();
        Self { tokens: prompt, served, cache, computed: 0, prompt_tokens, sampler, text, eos, events, _place: place }
    }

    /// Nobody listens any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// Whether the whole prompt is cached: from then on each step computes one token.
    pub(super) fn is_decoding(&self) -> bool {
        self.computed >= self.prompt_tokens
    }

    /// Takes the logits after the last token; `false` when the answer has ended.
    pub(super) fn advance(&mut self, logits: &[f32]) -> bool {
        let Some(sampled) = self.sampler.sample(logits) else {
            self.fail(GenerationError::NotFinite);
            return false;
        };
        self.tokens.push(sampled.id);
        let index = self.tokens.len() - self.prompt_tokens - 1;
        let ended = self.eos.contains(&sampled.id) && !self.sampler.params().ignore_eos;
        let (text, stopped) = if ended { (String::new(), false) } else { self.text.push(sampled.id) };
        self.send(Event::Token { index, id: sampled.id, text, logprob: sampled.logprob });
        let reason = match (stopped, ended) {
            (true, _) => FinishReason::StopSequence,
            (_, true) => FinishReason::EosToken,
            _ if index + 1 == self.sampler.params().max_new_tokens => FinishReason::Length,
            _ => return true,
        };
        self.finish(reason);
        false
    }

    fn finish(&mut self, reason: FinishReason) {
        let (text, stopped) = match reason {
            FinishReason::StopSequence => (String::new(), false),
            _ => self.text.finish(),
        };
        let reason = if stopped { FinishReason::StopSequence } else { reason };
        let generated_tokens = self.tokens.len() - self.prompt_tokens;
        let seed = self.sampler.params().seed;
        self.send(Event::Finished { reason, prompt_tokens: self.prompt_tokens, generated_tokens, seed, text });
    }

    pub(super) fn fail(&self, error: GenerationError) {
        self.send(Event::Failed(error));
    }

    fn send(&self, event: Event) {
        // The channel holds a whole answer, so only a listener that left makes this fail; it is noticed before the
        // next step.
        let _ = self.events.try_send(event);
    }
}
