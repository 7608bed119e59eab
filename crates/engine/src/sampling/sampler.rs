//! Chooses tokens for one sequence.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
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
    params: SamplingParams,
    rng: ChaCha8Rng,
    /// Tokens of prompt and answer, one bit each; empty when no penalty needs them.
    seen: Vec<u64>,
}

impl Sampler {
    pub(crate) fn new(params: SamplingParams, prompt: &[u32], vocabulary: usize) -> Self {
        let words = if params.repetition_penalty == 1.0 { 0 } else { vocabulary.div_ceil(64) };
        let rng = ChaCha8Rng::seed_from_u64(params.seed);
        let mut sampler = Self { params, rng, seen: vec![0; words] };
        prompt.iter().for_each(|id| sampler.see(*id));
        sampler
    }

    pub(crate) fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Whether [`Self::sample`] reads logits at all, and not only what sums them up.
    pub(crate) fn needs_logits(&self) -> bool {
        self.params.temperature > 0.0 || !self.params.logit_bias.is_empty() || !self.seen.is_empty()
    }

    /// The next token, or `None` when a logit is not finite: an arg-max over NaN would answer token 0 and hide it.
    /// `likelihood` sums up `logits`, which may be empty where they are not needed.
    pub(crate) fn sample(
        &mut self,
        logits: &[f32],
        likelihood: &Likelihood,
        buffers: &mut Choosing,
    ) -> Option<Sampled> {
        let Likelihood { best, largest, log_total, finite } = *likelihood;
        if !finite {
            return None;
        }
        let Choosing { adjusted, weights, filter } = buffers;
        let id = if self.params.logit_bias.is_empty() && self.seen.is_empty() {
            self.choose(logits, (best, largest), weights, filter)
        } else {
            adjusted.clear();
            adjusted.extend_from_slice(logits);
            self.adjust(adjusted);
            self.choose(adjusted, likeliest(adjusted), weights, filter)
        };
        self.see(id);
        let logit = if id == best { largest } else { logits[id as usize] };
        Some(Sampled { id, logprob: logit - largest - log_total })
    }

    fn see(&mut self, id: u32) {
        if let Some(word) = self.seen.get_mut(id as usize / 64) {
            *word |= 1 << (id % 64);
        }
    }

    fn adjust(&self, logits: &mut [f32]) {
        for (id, bias) in &self.params.logit_bias {
            logits[*id as usize] += bias;
        }
        let penalty = self.params.repetition_penalty;
        for (at, word) in self.seen.iter().enumerate().filter(|(_, word)| **word != 0) {
            for bit in (0..64).filter(|bit| word >> bit & 1 == 1) {
                let logit = &mut logits[at * 64 + bit];
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
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
