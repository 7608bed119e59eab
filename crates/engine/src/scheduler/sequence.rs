//! One request inside the scheduler. Dropping it frees its row, its memory and its place in the queue.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use tureen_cuda::Choices;

use super::draft::Draft;
use super::queue::Ticket;
use super::served::Served;
use crate::answer::{End, Teller, Told};
use crate::error::GenerationError;
use crate::event::FinishReason;
use crate::kv::{PrefixKey, SequenceCache};
use crate::sampling::{After, Choosing, Sampled, Sampler, StopWatch};
use crate::stats::Counters;

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

/// Whether somebody waits for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Request,
    /// Nobody does: it has what requests leave.
    Shadow,
}

/// What admission hands over.
pub(crate) struct Admitted {
    pub(crate) prompt: Vec<u32>,
    pub(crate) client: u64,
    pub(crate) rank: Rank,
    pub(crate) served: Served,
    /// What its pages are known by.
    pub(crate) prefix: PrefixKey,
    /// Without pages.
    pub(crate) cache: SequenceCache,
    pub(crate) sampler: Sampler,
    pub(crate) stops: Option<StopWatch>,
    pub(crate) eos: Arc<[u32]>,
    pub(crate) teller: Teller,
    pub(crate) place: Place,
}

/// A request from admission to its end.
pub(crate) struct Sequence {
    /// Prompt, then answer.
    pub(super) tokens: Vec<u32>,
    pub(super) client: u64,
    pub(super) rank: Rank,
    pub(super) served: Served,
    pub(super) cache: SequenceCache,
    pub(super) ticket: Ticket,
    /// It ran before, and gave its pages to others.
    pub(super) preempted: bool,
    /// Its answer is complete, or broke off.
    pub(super) ended: bool,
    draft: Draft,
    prefix: PrefixKey,
    prompt_tokens: usize,
    sampler: Sampler,
    stops: Option<StopWatch>,
    eos: Arc<[u32]>,
    teller: Teller,
    _place: Place,
}

impl Sequence {
    pub(crate) fn new(admitted: Admitted) -> Self {
        let Admitted { prompt, client, rank, served, prefix, cache, sampler, stops, eos, teller, place } = admitted;
        let prompt_tokens = prompt.len();
        let mut tokens = prompt;
        tokens.reserve_exact(sampler.params().max_new_tokens);
        Self {
            tokens,
            client,
            rank,
            served,
            cache,
            ticket: Ticket::default(),
            preempted: false,
            ended: false,
            draft: Draft::new(),
            prefix,
            prompt_tokens,
            sampler,
            stops,
            eos,
            teller,
            _place: place,
        }
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.rank == Rank::Shadow
    }

    /// Requests in the order they came, then shadows.
    pub(super) fn order(&self) -> (Rank, u64) {
        (self.rank, self.ticket.arrival)
    }

    /// Nobody listens any more.
    pub(super) fn is_abandoned(&self) -> bool {
        !self.teller.is_heard()
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

    /// Says how a device chooses its next token, and those after its draft.
    pub(super) fn describe(&self, vocabulary: usize, to: &mut Choices) {
        self.sampler.describe(self.draft.tokens(), vocabulary, to);
    }

    /// Leaves its full pages to others.
    pub(super) fn share_prefix(&self) {
        if !self.is_shadow() {
            self.cache.share(self.prefix, &self.tokens);
        }
    }

    /// Gives its pages up. They are found again, as far as nobody needed them, or computed again.
    pub(super) fn preempt(&mut self) {
        self.share_prefix();
        self.cache.clear();
        self.preempted = true;
    }

    /// Drafts up to `most` tokens for a step of `rows` sequences, as far as there are pages for them.
    pub(super) fn draft(&mut self, rows: usize, most: usize) {
        if self.is_shadow() {
            return;
        }
        let answer = self.tokens.len() - self.prompt_tokens;
        // The last token of the answer has no row.
        let left = self.sampler.params().max_new_tokens - answer - 1;
        self.draft.propose(&self.tokens, rows, most.min(left));
        if !self.cache.reserve(self.tokens.len() + self.drafted()) {
            self.draft.clear();
        }
    }

    /// Tokens of its draft.
    pub(super) fn drafted(&self) -> usize {
        self.draft.tokens().len()
    }

    /// A token of prompt, answer or draft.
    pub(super) fn token(&self, position: usize) -> u32 {
        let written = self.tokens.get(position);
        written.copied().unwrap_or_else(|| self.draft.tokens()[position - self.tokens.len()])
    }

    /// Chooses the next token from the logits after the last one; more of them from those after its draft, as long as
    /// they are what was drafted.
    pub(super) fn advance<'a>(
        &mut self,
        rows: impl Iterator<Item = After<'a>> + Clone,
        choosing: &mut Choosing,
        counters: &Counters,
    ) {
        if self.drafted() > 0 && !rows.clone().all(After::is_finite) {
            // A draft that is no number may spoil the rows before it, and those to come where its values stay: they are
            // multiplied with zero. All of it is computed again, as it would be without a draft.
            self.draft.give_up();
            return self.cache.forget_partial();
        }
        let mut right = 0;
        for after in rows {
            if self.is_decoding() {
                self.cache.advance(1);
            }
            let Some(sampled) = self.sampler.sample(after, choosing) else {
                return self.fail(GenerationError::NotFinite);
            };
            let as_drafted = self.draft.tokens().get(right) == Some(&sampled.id);
            counters.decode_tokens.fetch_add(1, Relaxed);
            counters.accepted_tokens.fetch_add(as_drafted.into(), Relaxed);
            self.take(sampled);
            right += usize::from(as_drafted);
            if !as_drafted || self.ended {
                break;
            }
        }
        self.draft.judge(right);
    }

    /// Takes a chosen token.
    fn take(&mut self, sampled: Sampled) {
        self.tokens.push(sampled.id);
        let eos = self.eos.contains(&sampled.id) && !self.sampler.params().ignore_eos;
        self.teller.token(Told { sampled, silent: eos });
        let stopped = !eos && self.stops.as_mut().is_some_and(|stops| stops.push(sampled.id));
        let reason = match (stopped, eos) {
            (true, _) => FinishReason::StopSequence,
            (_, true) => FinishReason::EosToken,
            _ if self.tokens.len() - self.prompt_tokens == self.sampler.params().max_new_tokens => FinishReason::Length,
            _ => return,
        };
        self.finish(reason);
    }

    fn finish(&mut self, reason: FinishReason) {
        let held = reason != FinishReason::StopSequence && self.stops.as_mut().is_some_and(StopWatch::finish);
        let reason = if held { FinishReason::StopSequence } else { reason };
        let (prompt_tokens, seed) = (self.prompt_tokens, self.sampler.params().seed);
        self.teller.end(End::Finished { reason, prompt_tokens, seed });
        self.share_prefix();
        self.ended = true;
    }

    pub(super) fn fail(&mut self, error: GenerationError) {
        self.teller.end(End::Failed(error));
        self.ended = true;
    }
}
