//! Supervised tuning on the preferred answers of several preferences at once.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tureen_engine::Checkpoint;

use crate::config::{LoraOptions, ModelOptions, PolicyConfig};
use crate::error::TrainError;
use crate::imitation::{Example, example, imitate};
use crate::model::{LoraAdapter, load_base_at};
use crate::pairs;
use crate::place::Place;
use crate::prompts::instructed;
use crate::reward_model::TrainingOptions;

/// A run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SftOptions {
    /// The policy that is made.
    pub policy: PolicyConfig,
    /// The base it is made from.
    pub model: ModelOptions,
    /// Its trainable part.
    #[serde(default)]
    pub lora: LoraOptions,
    /// What is imitated.
    pub tasks: Vec<SftTask>,
    /// How it is optimised.
    #[serde(default)]
    pub training: TrainingOptions,
    /// Answers whose sequence is longer, in tokens, are left out.
    #[serde(default = "tokens_512")]
    pub max_length: usize,
    /// Folder of what the run writes.
    pub out: PathBuf,
}

fn tokens_512() -> usize {
    512
}

/// A preference's pairs: the chosen answers are imitated, to prompts with the instruction.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SftTask {
    /// The pair file, of any shape that [`crate::pairs::read`] knows.
    pub pairs: PathBuf,
    /// What is appended to its prompts.
    pub instruction: String,
}

impl SftOptions {
    pub(super) fn check(&self) -> Result<(), String> {
        let positive = [("lora.r", self.lora.r), ("tasks", self.tasks.len()), ("max_length", self.max_length)];
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("method.multitask_sft.{name} must be at least 1")),
            None => self.training.check().map_err(|message| format!("method.multitask_sft: {message}")),
        }
    }
}

/// Minimises the mean negative log-likelihood of the tokens of all tasks' chosen answers. `watch` gets the updates made,
/// all updates, and the loss of each in nats a token.
///
/// # Errors
/// Pairs that cannot be used, or a loss or gradient that is not finite.
pub fn train(
    checkpoint: &Checkpoint,
    options: &SftOptions,
    watch: impl FnMut(u64, u64, f64),
) -> Result<LoraAdapter, TrainError> {
    let examples = examples(checkpoint, options)?;
    let base = load_base_at(&Place::open(options.model.device)?, checkpoint, options.max_length)?;
    let LoraOptions { r, lora_alpha, a_seed } = options.lora;
    let adapter = LoraAdapter::init(&base, r, lora_alpha, a_seed)?;
    imitate(&base, &adapter, &examples, &options.training, watch)?;
    Ok(adapter)
}

fn examples(checkpoint: &Checkpoint, options: &SftOptions) -> Result<Vec<Example>, TrainError> {
    let mut examples = Vec::new();
    for SftTask { pairs: file, instruction } in &options.tasks {
        for pair in pairs::read(file)? {
            let (prompt, answer) = example(checkpoint, &instructed(&pair.prompt, &[instruction]), &pair.chosen)?;
            if prompt.len() + answer.len() <= options.max_length {
                examples.push((prompt, answer));
            }
        }
    }
    if examples.is_empty() {
        let longest = options.max_length;
        return Err(TrainError::Invalid(format!("no pair of at most {longest} tokens to imitate")));
    }
    Ok(examples)
}
