//! Reward models: base + LoRA + a scalar head, trained on preference pairs (Bradley and Terry 1952).

mod accuracy;
mod file;
mod train;

pub use accuracy::{Accuracy, accuracy};
use candle_core::{Result, Var, bail};
pub use train::{TrainingOptions, train};

use crate::model::{Base, LoraAdapter};
use crate::ops::to_vec;
use crate::sequence::last_hidden;
use crate::value::ValueHead;

/// Answers that are scored in one forward.
const ROWS: usize = 8;

/// The size of a reward model and where its A factors come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Rank of every module.
    pub r: usize,
    /// Scaling numerator.
    pub lora_alpha: f64,
    /// Seed of the initial A factors.
    pub a_seed: u64,
}

/// A reward model of one base: `gain (h . w + b + bias)`, where `h` is the final hidden state of the answer's last token.
pub struct RewardModel {
    shape: Shape,
    adapter: LoraAdapter,
    head: ValueHead,
    /// What makes the rewards of the base's own answers have mean 0.
    bias: f64,
    /// What makes them have deviation 1.
    gain: f64,
}

impl RewardModel {
    /// An untrained one, whose rewards are all 0.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(base: &Base, shape: Shape) -> Result<Self> {
        let Shape { r, lora_alpha, a_seed } = shape;
        let adapter = LoraAdapter::init(base, r, lora_alpha, a_seed)?;
        Ok(Self { shape, adapter, head: ValueHead::zero(base)?, bias: 0.0, gain: 1.0 })
    }

    fn variables(&self) -> Vec<(String, Var)> {
        self.adapter.variables().into_iter().chain(self.head.variables()).collect()
    }

    /// Rewards of whole sequences ([`sequence`]).
    ///
    /// # Errors
    /// A sequence longer than the base's tables.
    pub fn rewards(&self, base: &Base, rows: &[Vec<u32>]) -> Result<Vec<f64>> {
        let mut rewards = Vec::with_capacity(rows.len());
        for rows in rows.chunks(ROWS) {
            let hidden = last_hidden(base, Some(&self.adapter.detached()), rows)?;
            rewards.extend(self.head.values(&to_vec(&hidden)?)?);
        }
        Ok(rewards.into_iter().map(|reward| self.gain * (reward + self.bias)).collect())
    }

    /// Sets gain and bias so that the rewards of `rows`, the base's own answers, have mean 0 and deviation 1 (Ziegler et
    /// al., arXiv 1909.08593). Rewards that are all equal keep the gain 1.
    ///
    /// # Errors
    /// A sequence longer than the base's tables, or rewards that are not finite: the training has run away.
    pub fn normalise(&mut self, base: &Base, rows: &[Vec<u32>]) -> Result<()> {
        (self.bias, self.gain) = (0.0, 1.0);
        let rewards = self.rewards(base, rows)?;
        let count = rewards.len().max(1) as f64;
        let mean = rewards.iter().sum::<f64>() / count;
        let deviation = (rewards.iter().map(|reward| (reward - mean).powi(2)).sum::<f64>() / count).sqrt();
        if !deviation.is_finite() {
            bail!("the rewards of the base's own answers are not finite");
        }
        self.bias = -mean;
        self.gain = if deviation > 1e-6 { 1.0 / deviation } else { 1.0 };
        Ok(())
    }
}

/// A prompt with an answer as a reward model reads it: the answer's own end token, or the first of `ends`, comes last, so
/// that an answer that was cut off is read as one that ends there.
pub fn sequence(ends: &[u32], prompt: &[u32], answer: &[u32]) -> Vec<u32> {
    let mut tokens = [prompt, answer].concat();
    if let (Some(end), false) = (ends.first(), answer.last().is_some_and(|last| ends.contains(last))) {
        tokens.push(*end);
    }
    tokens
}
