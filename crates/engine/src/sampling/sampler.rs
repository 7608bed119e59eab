//! Chooses tokens for one sequence.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tureen_kernels::Likelihood;

use super::filter::{Candidate, keep};
use super::params::SamplingParams;

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampled {
    pub(crate) id: u32,
    /// Natural logarithm of the model's own probability: before bias, penalty, temperature and filters.
    pub(crate) logprob: f32,
}

/// The state of one sequence's choices: the same logits and seed give the same tokens.
#[derive(Debug)]
pub(crate) struct Sampler {
    params: SamplingParams,
    rng: ChaCha8Rng,
    /// Tokens of prompt and answer, one bit each; empty when no penalty needs them.
    seen: Vec<u64>,
    adjusted: Vec<f32>,
    candidates: Vec<Candidate>,
}

impl Sampler {
    pub(crate) fn new(params: SamplingParams, prompt: &[u32], vocabulary: usize) -> Self {
        let words = if params.repetition_penalty == 1.0 { 0 } else { vocabulary.div_ceil(64) };
        let rng = ChaCha8Rng::seed_from_u64(params.seed);
        let mut sampler = Self { params, rng, seen: vec![0; words], adjusted: Vec::new(), candidates: Vec::new() };
        prompt.iter().for_each(|id| sampler.see(*id));
        sampler
    }

    pub(crate) fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// The next token, or `None` when a logit is not finite: an arg-max over NaN would answer token 0 and hide it.
    /// `likelihood` sums up `logits`.
    pub(crate) fn sample(&mut self, logits: &[f32], likelihood: &Likelihood) -> Option<Sampled> {
        let Likelihood { best, largest, log_total, finite } = *likelihood;
        if !finite {
            return None;
        }
        let id = if self.params.logit_bias.is_empty() && self.seen.is_empty() {
            self.choose(logits, (best, largest))
        } else {
            let mut adjusted = std::mem::take(&mut self.adjusted);
            adjusted.clear();
            adjusted.extend_from_slice(logits);
            self.adjust(&mut adjusted);
            let id = self.choose(&adjusted, likeliest(&adjusted));
            self.adjusted = adjusted;
            id
        };
        self.see(id);
        Some(Sampled { id, logprob: logits[id as usize] - largest - log_total })
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

    fn choose(&mut self, logits: &[f32], (best, largest): (u32, f32)) -> u32 {
        if self.params.temperature <= 0.0 {
            return best;
        }
        let inverse = 1.0 / self.params.temperature;
        self.candidates.clear();
        let weigh = |(id, logit): (usize, &f32)| (id as u32, ((logit - largest) * inverse).exp());
        self.candidates.extend(logits.iter().enumerate().map(weigh));
        keep(&mut self.candidates, &self.params);
        let total: f64 = self.candidates.iter().map(|c| f64::from(c.1)).sum();
        let mut left = self.rng.random::<f64>() * total;
        for (id, weight) in &self.candidates {
            left -= f64::from(*weight);
            if left < 0.0 {
                return *id;
            }
        }
        // Rounding left a crumb over.
        best
    }
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
