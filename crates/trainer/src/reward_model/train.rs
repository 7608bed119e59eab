//! Training on pairs.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use candle_core::Tensor;

use super::RewardModel;
use crate::error::TrainError;
use crate::model::{Base, Checkpointing};
use crate::ops::to_vec;
use crate::ppo::Adam;
use crate::sequence::last_hidden;

/// How a reward model is optimised.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingOptions {
    /// First learning rate of Adam; falls to 0 as a straight line.
    pub learning_rate: f64,
    /// Longest gradient.
    pub max_grad_norm: f64,
    /// Passes over all pairs.
    pub num_train_epochs: usize,
    /// Pairs per update.
    pub batch_size: usize,
    /// Whether layers are computed again in the backward instead of being kept; none means where they would take over 1.5 GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_checkpointing: Option<bool>,
    /// Seed of the order.
    pub seed: u64,
}

impl Default for TrainingOptions {
    fn default() -> Self {
        Self {
            learning_rate: 2e-4,
            max_grad_norm: 1.0,
            num_train_epochs: 1,
            batch_size: 4,
            gradient_checkpointing: None,
            seed: 1,
        }
    }
}

impl TrainingOptions {
    /// Names the first value that cannot be used.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self { learning_rate, max_grad_norm, num_train_epochs, batch_size, gradient_checkpointing: _, seed: _ } =
            self;
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        if *num_train_epochs == 0 || *batch_size == 0 {
            return Err("training.num_train_epochs and training.batch_size must be at least 1".into());
        }
        if !positive(learning_rate) || !positive(max_grad_norm) {
            return Err("training.learning_rate and training.max_grad_norm must be above 0".into());
        }
        Ok(())
    }
}

/// Minimises `mean -log sigmoid(r(chosen) - r(rejected))` over `pairs` of sequences. `watch` gets the updates made, all
/// updates, and the loss of each.
///
/// # Errors
/// A loss or gradient that is not finite, or a sequence longer than the base's tables.
pub fn train(
    model: &RewardModel,
    base: &Base,
    pairs: &[[Vec<u32>; 2]],
    options: &TrainingOptions,
    mut watch: impl FnMut(u64, u64, f64),
) -> Result<(), TrainError> {
    let variables = model.variables().into_iter().map(|(_, var)| var).collect();
    let mut adam = Adam::new(variables, options.learning_rate, options.max_grad_norm);
    let checkpointing = Checkpointing::chosen(options.gradient_checkpointing, base.geometry());
    tracing::info!("gradient checkpointing: {checkpointing}");
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    let all = (pairs.len().div_ceil(options.batch_size) * options.num_train_epochs) as u64;
    let mut done = 0;
    for _ in 0..options.num_train_epochs {
        order.shuffle(&mut rng);
        for chunk in order.chunks(options.batch_size) {
            adam.set_learning_rate(options.learning_rate * (1.0 - done as f64 / all as f64));
            let rows: Vec<Vec<u32>> = chunk.iter().flat_map(|&pair| pairs[pair].clone()).collect();
            let hidden = last_hidden(base, Some(&model.adapter.tracked(checkpointing)), &rows)?;
            let rewards = model.head.forward(&hidden)?;
            let (loss, grads) = bradley_terry(&to_vec(&rewards)?);
            done += 1;
            if !loss.is_finite() {
                return Err(TrainError::NotFinite { step: done, what: "loss" });
            }
            // The loss enters the graph as a linear form with the gradients as its coefficients.
            let count = grads.len();
            let grads = Tensor::from_vec(grads, count, rewards.device())?;
            let by_rewards = (rewards * grads)?.sum_all()?;
            if !adam.step(&by_rewards.backward()?)?.is_finite() {
                return Err(TrainError::NotFinite { step: done, what: "gradient" });
            }
            watch(done, all, loss);
        }
    }
    Ok(())
}

/// Mean loss of rewards that stand chosen, rejected, chosen, ..., and its derivative by each.
fn bradley_terry(rewards: &[f32]) -> (f64, Vec<f32>) {
    let count = (rewards.len() / 2) as f64;
    let (mut loss, mut grads) = (0.0, Vec::with_capacity(rewards.len()));
    for pair in rewards.chunks_exact(2) {
        let apart = f64::from(pair[0]) - f64::from(pair[1]);
        // log(1 + e^-d), without overflow for very wrong pairs.
        loss += ((-apart.abs()).exp().ln_1p() + (-apart).max(0.0)) / count;
        let slope = (-1.0 / (1.0 + apart.exp()) / count) as f32;
        grads.extend([slope, -slope]);
    }
    (loss, grads)
}
