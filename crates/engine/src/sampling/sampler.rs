//! Chooses tokens for one sequence.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tureen_cuda::Chosen;
use tureen_kernels::Likelihood;

use super::filter::{Filter, Weighing, allows_all};
use super::params::SamplingParams;

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampled {
    pub(crate) id: u32,
    /// Natural logarithm of the model's own probability: before bias, penalty, temperature and filters.
    pub(crate) logprob: f32,
}

/// What is known of the token after a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum After<'a> {
    /// Its logits, and what sums them up.
    Logits(&'a [f32], &'a Likelihood),
    /// What a device chose, by the rule of [`Sampler::describe`].
    Chosen(&'a Chosen),
}

impl After<'_> {
    /// Whether all logits are finite.
    pub(crate) fn is_finite(self) -> bool {
        match self {
            Self::Logits(_, likelihood) => likelihood.finite,
            Self::Chosen(chosen) => chosen.id.is_some(),
        }
    }
}

/// Buffers of a choice, for all sequences: they choose one after the other. Allocated once.
#[derive(Debug)]
pub(crate) struct Choosing {
    adjusted: Vec<f32>,
    weights: Vec<f32>,
    filter: Filter,
}

impl Choosing {
    pub(crate) fn new(vocabulary: usize) -> Self {
        let buffer = || Vec::with_capacity(vocabulary);
        Self { adjusted: buffer(), weights: buffer(), filter: Filter::new(vocabulary) }
    }
}

/// The state of one sequence's choices: the same logits and seed give the same tokens.
#[derive(Debug)]
pub(crate) struct Sampler {
    pub(super) params: SamplingParams,
    /// [`SamplingParams::logit_bias`] by token, none of them twice.
    pub(super) biases: Vec<(u32, f32)>,
    pub(super) rng: ChaCha8Rng,
    /// Tokens of prompt and answer, one bit each; empty when no penalty needs them.
    pub(super) seen: Vec<u64>,
}

impl Sampler {
    pub(crate) fn new(params: SamplingParams, prompt: &[u32], vocabulary: usize) -> Self {
        let words = if params.repetition_penalty == 1.0 { 0 } else { vocabulary.div_ceil(64) };
        let rng = ChaCha8Rng::seed_from_u64(params.seed);
        let mut biases = BTreeMap::new();
        for (id, bias) in &params.logit_bias {
            *biases.entry(*id).or_insert(0.0) += bias;
        }
        let mut sampler = Self { params, biases: biases.into_iter().collect(), rng, seen: vec![0; words] };
        prompt.iter().for_each(|id| sampler.see(*id));
        sampler
    }

    pub(crate) fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// The next token, or `None` when a logit is not finite: an arg-max over NaN would answer token 0 and hide it.
    pub(crate) fn sample(&mut self, after: After<'_>, buffers: &mut Choosing) -> Option<Sampled> {
        let sampled = match after {
            After::Logits(logits, likelihood) => self.sample_from(logits, likelihood, buffers)?,
            After::Chosen(Chosen { id, logprob }) => {
                let sampled = Sampled { id: (*id)?, logprob: *logprob };
                if self.params.temperature > 0.0 {
                    // The draw that was described.
                    self.rng.random::<f64>();
                }
                sampled
            }
        };
        self.see(sampled.id);
        Some(sampled)
    }

    fn sample_from(&mut self, logits: &[f32], likelihood: &Likelihood, buffers: &mut Choosing) -> Option<Sampled> {
        let Likelihood { best, largest, log_total, finite } = *likelihood;
        if !finite {
            return None;
        }
        let Choosing { adjusted, weights, filter } = buffers;
        let id = if self.biases.is_empty() && !self.penalises() {
            self.choose(logits, (best, largest), weights, filter)
        } else {
            adjusted.clear();
            adjusted.extend_from_slice(logits);
            self.adjust(adjusted);
            self.choose(adjusted, likeliest(adjusted), weights, filter)
        };
        let logit = if id == best { largest } else { logits[id as usize] };
        Some(Sampled { id, logprob: logit - largest - log_total })
    }

    /// Whether tokens that were seen are told from others.
    pub(super) fn penalises(&self) -> bool {
        !self.seen.is_empty()
    }

    pub(super) fn saw(&self, id: u32) -> bool {
        self.seen.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Tokens of prompt and answer, where a penalty needs them.
    pub(super) fn seen_tokens(&self) -> impl Iterator<Item = u32> {
        let words = self.seen.iter().enumerate().filter(|(_, word)| **word != 0);
        words
            .flat_map(|(at, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at as u32 * 64 + bit))
    }

    fn see(&mut self, id: u32) {
        if let Some(word) = self.seen.get_mut(id as usize / 64) {
            *word |= 1 << (id % 64);
        }
    }

    fn adjust(&self, logits: &mut [f32]) {
        for (id, bias) in &self.biases {
            logits[*id as usize] += bias;
        }
        let penalty = self.params.repetition_penalty;
        for id in self.seen_tokens() {
            let logit = &mut logits[id as usize];
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }

    fn choose(
        &mut self,
        logits: &[f32],
        (best, largest): (u32, f32),
        weights: &mut Vec<f32>,
        filter: &mut Filter,
    ) -> u32 {
        if self.params.temperature <= 0.0 {
            return best;
        }
        let from = Weighing { logits, largest, inverse: 1.0 / self.params.temperature };
        // The only draw: one for each token, whatever the filters leave.
        let draw = self.rng.random::<f64>();
        let drawn = if allows_all(&self.params) {
            weights.clear();
            weights.extend(logits.iter().map(|logit| from.weight(*logit)));
            pick(draw, weights.iter().copied()).map(|at| at as u32)
        } else {
            filter.keep(from, &self.params);
            pick(draw, filter.candidates.iter().map(|c| c.1)).map(|at| filter.candidates[at].0)
        };
        // Rounding left a crumb over.
        drawn.unwrap_or(best)
    }
}

/// The place where `draw`, between 0 and 1, falls.
fn pick(draw: f64, weights: impl Iterator<Item = f32> + Clone) -> Option<usize> {
    let total: f64 = weights.clone().map(f64::from).sum();
    let mut left = draw * total;
    weights.map(f64::from).position(|weight| {
        left -= weight;
        left < 0.0
    })
}

/// The largest logit; the first of equal ones.
fn likeliest(logits: &[f32]) -> (u32, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, logit) in logits.iter().enumerate() {
        if *logit > best.1 {
            best = (id as u32, *logit);
        }
    }
    best
}
