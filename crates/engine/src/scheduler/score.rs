//! Log-probabilities of a finished text under several soups at once: between steps, piece by piece.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::oneshot;
use tureen_cuda::{Choices, Rule};
use tureen_kernels::Likelihood;

use super::Setup;
use super::sequence::Place;
use crate::error::{GenerationError, SubmitError};
use crate::kv::SequenceCache;
use crate::model::{Batch, Gates, Group, Logits, Mix, Row, Scratch};

/// For each soup, the log-probability of each token of the answer.
pub(crate) type Scores = Vec<Vec<f32>>;

/// A text to score. Its soups are rows of one batch, neighbours on the gate.
pub(crate) struct ScoreJob {
    /// Prompt, then answer.
    tokens: Vec<u32>,
    prompt_tokens: usize,
    gates: Arc<Gates>,
    /// `None` is the base.
    mixes: Vec<Option<Arc<Mix>>>,
    caches: Vec<SequenceCache>,
    scores: Scores,
    computed: usize,
    reply: oneshot::Sender<Result<Scores, GenerationError>>,
    place: Place,
}

/// Soups of the gate path.
pub(crate) struct Scored {
    pub(crate) gates: Arc<Gates>,
    /// `None` is the base.
    pub(crate) mixes: Vec<Option<Arc<Mix>>>,
}

impl ScoreJob {
    /// `tokens` are the prompt, of `prompt_tokens`, and the answer; both have one at least.
    pub(crate) fn new(
        (tokens, prompt_tokens): (Vec<u32>, usize),
        scored: Scored,
        caches: Vec<SequenceCache>,
        reply: oneshot::Sender<Result<Scores, GenerationError>>,
        place: Place,
    ) -> Self {
        let Scored { gates, mixes } = scored;
        let scores = vec![Vec::with_capacity(tokens.len() - prompt_tokens); mixes.len()];
        Self { tokens, prompt_tokens, gates, mixes, caches, scores, computed: 0, reply, place }
    }

    /// Positions that are computed: the last token is told, and asks for nothing behind it.
    fn positions(&self) -> usize {
        self.tokens.len() - 1
    }

    /// Nobody listens any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    pub(super) fn refuse(self, error: GenerationError) {
        let _ = self.reply.send(Err(error));
    }

    /// Gets all its pages at once, so that it never waits while it holds some.
    fn reserve(&mut self, setup: &Setup) -> Result<(), GenerationError> {
        let positions = self.positions();
        for cache in &mut self.caches {
            while !cache.reserve(positions) {
                if !setup.soups.make_room() {
                    let needed = setup.kv.bytes(positions) * self.mixes.len() as u64;
                    let (used, budget) = (setup.budget.used(), setup.budget.limit());
                    return Err(SubmitError::OutOfMemory { needed, used, budget }.into());
                }
            }
        }
        Ok(())
    }

    /// Computes the next tokens of every soup; at most `prefill_chunk` rows, but one of each soup at the least.
    fn advance(
        &mut self,
        setup: &Setup,
        scratch: &mut Scratch,
        likelihoods: &mut Vec<Likelihood>,
    ) -> Result<(), GenerationError> {
        if self.computed == 0 {
            self.reserve(setup)?;
        }
        let count = (setup.prefill_chunk / self.mixes.len()).max(1).min(self.positions() - self.computed);
        let (rows, mixes, groups) = self.plan(count, setup);
        let wanted: Vec<&Row> = rows.iter().filter(|row| row.wanted).collect();
        let next = |row: &Row| self.tokens[row.position + 1];
        let choices = setup.model.device().map(|_| given(wanted.iter().map(|row| next(row))));
        let batch = Batch { rows: &rows, mixes: &mixes, groups: &groups, choices: choices.as_ref() };
        let logits = setup.model.forward(&setup.compute, &batch, self.caches.iter_mut(), scratch);
        match logits.map_err(|e| GenerationError::of_device(&e))? {
            Logits::All(logits) => {
                let vocabulary = setup.model.config().vocab_size;
                likelihoods.resize(wanted.len(), Likelihood::default());
                setup.compute.likelihoods(logits, vocabulary, likelihoods);
                for ((row, logits), likelihood) in wanted.iter().zip(logits.chunks_exact(vocabulary)).zip(likelihoods) {
                    if !likelihood.finite {
                        return Err(GenerationError::NotFinite);
                    }
                    let logit = logits[next(row) as usize];
                    self.scores[row.cache].push(logit - likelihood.largest - likelihood.log_total);
                }
            }
            Logits::Chosen(chosen) => {
                for (row, chosen) in wanted.iter().zip(chosen) {
                    chosen.id.ok_or(GenerationError::NotFinite)?;
                    self.scores[row.cache].push(chosen.logprob);
                }
            }
        }
        self.caches.iter_mut().for_each(|cache| cache.advance(count));
        self.computed += count;
        Ok(())
    }

    fn plan(&self, count: usize, setup: &Setup) -> (Vec<Row>, Vec<Option<Arc<Mix>>>, Vec<Group>) {
        let mut rows = Vec::with_capacity(count * self.mixes.len());
        let mixes = self.mixes.iter().flat_map(|mix| std::iter::repeat_n(mix.clone(), count)).collect();
        let mut groups: Vec<Group> = Vec::new();
        for (cache, mix) in self.mixes.iter().enumerate() {
            let start = rows.len();
            rows.extend((self.computed..self.computed + count).map(|position| Row {
                token: self.tokens[position],
                position,
                cache,
                wanted: position + 1 >= self.prompt_tokens,
            }));
            let same = groups.last().is_some_and(|group| group.gates.is_some() == mix.is_some());
            if !same {
                let gates = mix.is_some().then(|| self.gates.clone());
                groups.push(Group { rows: start..start, weights: setup.base.clone(), gates });
            }
            let group = groups.last_mut().expect("there is one now");
            group.rows.end = rows.len();
        }
        (rows, mixes, groups)
    }
}

/// The rules by which a device tells the log-probability of each of `tokens`.
fn given(tokens: impl Iterator<Item = u32>) -> Choices {
    let mut choices = Choices::default();
    tokens.for_each(|token| choices.push(&Rule::Given(token), 1.0, []));
    choices
}

/// Texts that are scored, the first one first.
#[derive(Default)]
pub(super) struct Scoring(VecDeque<ScoreJob>);

impl Scoring {
    pub(super) fn enter(&mut self, job: ScoreJob) {
        self.0.push_back(job);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn let_go(&mut self) {
        self.0.retain(|job| !job.is_abandoned());
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = ScoreJob> {
        self.0.drain(..)
    }

    /// Computes one piece of the first text; tells whether that went well.
    pub(super) fn step(&mut self, setup: &Setup, scratch: &mut Scratch, likelihoods: &mut Vec<Likelihood>) -> bool {
        let Some(job) = self.0.front_mut() else { return true };
        let piece = catch_unwind(AssertUnwindSafe(|| job.advance(setup, scratch, likelihoods)));
        let result = piece.unwrap_or_else(|_| {
            *scratch = setup.scratch();
            Err(GenerationError::Panicked)
        });
        let (done, went_well) = (job.computed == job.positions(), result.is_ok());
        if (done || !went_well)
            && let Some(ScoreJob { reply, scores, caches, place, .. }) = self.0.pop_front()
        {
            // Its pages and its place are back before anybody hears of it.
            drop((caches, place));
            let _ = reply.send(result.map(|()| scores));
        }
        went_well
    }
}
