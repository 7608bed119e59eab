//! Preferences that a prompt may ask for in words, and the mean of the rewards of those that it does.

use candle_core::{Result as TensorResult, bail};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tureen_engine::Checkpoint;

use crate::config::RewardOptions;
use crate::error::TrainError;
use crate::generator::answer_seed;
use crate::model::Base;
use crate::reward::{Reward, RewardSum, Scored, Scoring};

/// A preference that one policy of all preferences is asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveOptions {
    /// Its name.
    pub id: String,
    /// A prompt asks for one preference of each dimension.
    pub dimension: String,
    /// What is appended to a prompt that asks for it.
    pub instruction: String,
    /// What an answer to such a prompt is rewarded for.
    pub reward: RewardOptions,
}

/// The preferences of a run, by dimension.
pub(crate) struct Preferences {
    options: Vec<ActiveOptions>,
    /// Indices of each dimension's, in the order of the configuration.
    dimensions: Vec<Vec<usize>>,
}

impl Preferences {
    pub(crate) fn new(options: Vec<ActiveOptions>) -> Self {
        let mut names: Vec<&str> = Vec::new();
        let mut dimensions: Vec<Vec<usize>> = Vec::new();
        for (index, ActiveOptions { dimension, .. }) in options.iter().enumerate() {
            match names.iter().position(|name| name == dimension) {
                Some(known) => dimensions[known].push(index),
                None => {
                    names.push(dimension);
                    dimensions.push(vec![index]);
                }
            }
        }
        Self { dimensions, options }
    }

    /// One preference of each dimension, drawn for a row of a step.
    pub(crate) fn draw(&self, seed: u64, step: u64, row: usize) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(answer_seed(&[seed, step, row as u64, u64::MAX]));
        self.dimensions.iter().map(|of| of[rng.random_range(0..of.len())]).collect()
    }

    /// The instructions of `active`.
    pub(crate) fn instructions(&self, active: &[usize]) -> Vec<&str> {
        active.iter().map(|&index| self.options[index].instruction.as_str()).collect()
    }

    /// Most tokens that instructions add to a prompt.
    pub(crate) fn longest(&self, checkpoint: &Checkpoint) -> Result<usize, TrainError> {
        let mut sum = 0;
        for dimension in &self.dimensions {
            let mut longest = 0;
            for &index in dimension {
                let tokens = checkpoint.tokenizer().encode(&self.options[index].instruction, false);
                // And a blank line before it.
                longest = longest.max(2 + tokens.map_err(|error| TrainError::Base(error.to_string()))?.len());
            }
            sum += longest;
        }
        Ok(sum)
    }
}

/// The mean of the rewards of the preferences that are active for an answer.
pub(crate) struct MeanOfActive {
    rewards: Vec<RewardSum>,
}

impl MeanOfActive {
    pub(crate) fn configured(
        options: &[ActiveOptions],
        base: &Base,
        checkpoint: &Checkpoint,
    ) -> Result<Self, TrainError> {
        let rewards = options.iter().map(|option| RewardSum::configured(option.reward.clone(), base, checkpoint));
        Ok(Self { rewards: rewards.collect::<Result<_, _>>()? })
    }
}

impl Reward for MeanOfActive {
    /// Measure and score are both the mean; the gate is the mean of the gates.
    fn score_all(&self, base: &Base, rows: &[Scoring<'_>]) -> TensorResult<Vec<Scored>> {
        let mut means = vec![Scored { score: 0.0, measure: 0.0, gate: 0.0 }; rows.len()];
        for (index, reward) in self.rewards.iter().enumerate() {
            let wanted: Vec<usize> = (0..rows.len()).filter(|&row| rows[row].active.contains(&index)).collect();
            let asked: Vec<Scoring<'_>> = wanted.iter().map(|&row| rows[row]).collect();
            for (row, scored) in wanted.into_iter().zip(reward.score_all(base, &asked)?) {
                let share = 1.0 / rows[row].active.len() as f64;
                means[row].score += share * scored.score;
                means[row].measure += share * scored.score;
                means[row].gate += share * scored.gate;
            }
        }
        if rows.iter().any(|row| row.active.is_empty()) {
            bail!("an answer without active preferences has no reward");
        }
        Ok(means)
    }
}
