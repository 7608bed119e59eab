//! A beginning for preferences that the base hardly ever shows by itself: what never is sampled is never rewarded.

use serde::{Deserialize, Serialize};
use tureen_engine::Checkpoint;

use crate::error::TrainError;
use crate::reward_model::TrainingOptions;

/// Before PPO begins, the policy learns to begin its answers with openings that show the preference. The base goes on from
/// them, so the policy begins no further from it than the openings are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WarmStart {
    /// First words of answers, taken in turn.
    pub openings: Vec<String>,
    /// Prompts of the run that are answered so.
    #[serde(default = "ninety_six")]
    pub examples: usize,
    /// How they are imitated.
    #[serde(default)]
    pub training: TrainingOptions,
}

fn ninety_six() -> usize {
    96
}

impl WarmStart {
    pub(crate) fn check(&self) -> Result<(), String> {
        let TrainingOptions { batch_size, num_train_epochs, learning_rate, .. } = self.training;
        if self.openings.is_empty() || self.openings.iter().any(|opening| opening.trim().is_empty()) {
            return Err("warm_start.openings must hold texts, at least one".into());
        }
        if self.examples == 0
            || batch_size == 0
            || num_train_epochs == 0
            || !learning_rate.is_finite()
            || learning_rate <= 0.0
        {
            return Err(
                "warm_start: examples, and training's batch_size, num_train_epochs and learning_rate, must be above 0"
                    .into(),
            );
        }
        Ok(())
    }

    /// The openings' tokens.
    ///
    /// # Errors
    /// One that cannot be tokenised, or that leaves no token of `longest` to go on with.
    pub(crate) fn tokens(&self, checkpoint: &Checkpoint, longest: usize) -> Result<Vec<Vec<u32>>, TrainError> {
        let tokens = |opening: &String| {
            let tokens = checkpoint.tokenizer().encode(opening, false);
            let tokens = tokens.map_err(|error| TrainError::Base(error.to_string()))?;
            if tokens.len() < longest {
                return Ok(tokens);
            }
            let length = tokens.len();
            let message = format!("warm_start.openings: {opening:?} has {length} tokens, answers at most {longest}");
            Err(TrainError::Invalid(message))
        };
        self.openings.iter().map(tokens).collect()
    }
}
