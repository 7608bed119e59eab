//! The annotator that asks a reward model.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tureen_engine::Checkpoint;

use super::{Annotator, Choice, Comparison};
use crate::error::TrainError;
use crate::model::{Base, load_base};
use crate::prompts::chat_tokens;
use crate::reward_model::{RewardModel, sequence};

/// A reward model, and by how much it must prefer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelLabels {
    /// The base that the model belongs to.
    pub base: PathBuf,
    /// The model, as `reward` wrote it.
    pub path: PathBuf,
    /// A difference of rewards up to which neither answer is preferred; the base's own answers have deviation 1.
    #[serde(default = "tenth")]
    pub margin: f64,
    /// Comparisons with a longer sequence, in tokens, are ties.
    #[serde(default = "tokens_512")]
    pub max_length: usize,
}

fn tenth() -> f64 {
    0.1
}

fn tokens_512() -> usize {
    512
}

/// A reward model with its base: the answer with the larger reward is preferred.
pub(super) struct Labels {
    checkpoint: Checkpoint,
    base: Base,
    model: RewardModel,
    margin: f64,
    max_length: usize,
}

impl Labels {
    /// Loads the base and the model.
    ///
    /// # Errors
    /// Files that cannot be used, or the model of another base.
    pub(super) fn load(options: &ModelLabels) -> Result<Self, TrainError> {
        let ModelLabels { base, path, margin, max_length } = options;
        let checkpoint = Checkpoint::open(base).map_err(|error| TrainError::Base(error.to_string()))?;
        let base = load_base(&checkpoint, *max_length)?;
        let model = RewardModel::read(path, &base, &checkpoint)?;
        Ok(Self { checkpoint, base, model, margin: *margin, max_length: *max_length })
    }
}

impl Annotator for Labels {
    fn compare(&mut self, comparison: Comparison<'_>) -> Result<Choice, TrainError> {
        let prompt = chat_tokens(&self.checkpoint, comparison.prompt)?;
        let ends = &self.checkpoint.config().eos_token_ids;
        let mut rows = Vec::with_capacity(2);
        for answer in comparison.answers {
            let answer = self.checkpoint.tokenizer().encode(answer, false);
            rows.push(sequence(ends, &prompt, &answer.map_err(|error| TrainError::Base(error.to_string()))?));
        }
        if rows.iter().any(|row| row.len() > self.max_length) {
            return Ok(Choice::Tie);
        }
        let rewards = self.model.rewards(&self.base, &rows)?;
        let apart = rewards[0] - rewards[1];
        Ok(if apart > self.margin {
            Choice::First
        } else if apart < -self.margin {
            Choice::Second
        } else {
            Choice::Tie
        })
    }
}
