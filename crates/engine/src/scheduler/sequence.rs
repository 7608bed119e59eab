//! One request inside the scheduler. Dropping it frees its row, its memory and its place in the queue.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc;
use tureen_kernels::Likelihood;

use super::queue::Ticket;
use super::served::Served;
use crate::error::GenerationError;
use crate::event::{Event, FinishReason};
use crate::kv::{PrefixKey, SequenceCache};
use crate::sampling::{Sampler, TextStream};

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

/// What admission hands over.
pub(crate) struct Admitted {
    pub(crate) prompt: Vec<u32>,
    pub(crate) client: u64,
    pub(crate) served: Served,
    /// What its pages are known by.
    pub(crate) prefix: PrefixKey,
    /// Without pages.
    pub(crate) cache: SequenceCache,
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
    pub(super) client: u64,
    pub(super) served: Served,
    pub(super) cache: SequenceCache,
    pub(super) ticket: Ticket,
    /// It ran before, and gave its pages to others.
    pub(super) preempted: bool,
    /// Its answer is complete, or broke off.
    pub(super) ended: bool,
    prefix: PrefixKey,
    prompt_tokens: usize,
    sampler: Sampler,
    text: TextStream,
    eos: Arc<[u32]>,
    events: mpsc::Sender<Event>,
    _place: Place,
}

impl Sequence {
    pub(crate) fn new(admitted: Admitted) -> Self {
        let Admitted { prompt, client, served, prefix, cache, sampler, text, eos, events, place } = admitted;
        let prompt_tokens = prompt.len();
        let mut tokens = prompt;
        tokens.reserve_exact(sampler.params().max_new_tokens);
        Self {
            tokens,
            client,
            served,
            cache,
            ticket: Ticket::default(),
            preempted: false,
            ended: false,
            prefix,
            prompt_tokens,
            sampler,
            text,
            eos,
            events,
            _place: place,
        }
    }

    /// Nobody listens any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// Tokens whose keys and values are not computed: one while it decodes.
    pub(super) fn left(&self) -> usize {
        self.tokens.len() - self.cache.computed()
    }

    /// Whether the step after this computes one token and chooses the next. Not while the prompt is read, nor while a
    /// preempted sequence computes again what it had.
    pub(super) fn is_decoding(&self) -> bool {
        self.left() == 1 && self.tokens.len() > self.prompt_tokens
    }

    /// Takes over pages that others computed; tells how many tokens they hold.
    pub(super) fn find_prefix(&mut self) -> usize {
        self.cache.find(self.prefix, &self.tokens)
    }

    /// Leaves its full pages to others.
    pub(super) fn share_prefix(&self) {
        self.cache.share(self.prefix, &self.tokens);
    }

    /// Gives its pages up. They are found again, as far as nobody needed them, or computed again.
    pub(super) fn preempt(&mut self) {
        self.share_prefix();
        self.cache.clear();
        self.preempted = true;
    }

    /// Takes the logits after the last token.
    pub(super) fn advance(&mut self, logits: &[f32], likelihood: &Likelihood) {
        let Some(sampled) = self.sampler.sample(logits, likelihood) else {
            return self.fail(GenerationError::NotFinite);
        };
        self.tokens.push(sampled.id);
        let index = self.tokens.len() - self.prompt_tokens - 1;
        let eos = self.eos.contains(&sampled.id) && !self.sampler.params().ignore_eos;
        let (text, stopped) = if eos { (String::new(), false) } else { self.text.push(sampled.id) };
        self.send(Event::Token { index, id: sampled.id, text, logprob: sampled.logprob });
        let reason = match (stopped, eos) {
            (true, _) => FinishReason::StopSequence,
            (_, true) => FinishReason::EosToken,
            _ if index + 1 == self.sampler.params().max_new_tokens => FinishReason::Length,
            _ => return,
        };
        self.finish(reason);
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
        self.share_prefix();
        self.ended = true;
    }

    pub(super) fn fail(&mut self, error: GenerationError) {
        self.send(Event::Failed(error));
        self.ended = true;
    }

    fn send(&self, event: Event) {
        // The channel holds a whole answer, so only a listener that left makes this fail; it is noticed before the
        // next step.
        let _ = self.events.try_send(event);
    }
}
