//! Supervised tuning on the preferred answers of several preferences at once.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tureen_engine::Checkpoint;

use crate::config::{LoraOptions, ModelOptions, PolicyConfig};
use crate::error::TrainError;
use crate::model::{Base, LoraAdapter, load_base};
use crate::ops::to_vec;
use crate::pairs;
use crate::ppo::Adam;
use crate::prompts::{chat_tokens, instructed};
use crate::reward_model::TrainingOptions;
use crate::sequence::score;

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
        let positive = [
            ("lora.r", self.lora.r),
            ("tasks", self.tasks.len()),
            ("training.batch_size", self.training.batch_size),
            ("training.num_train_epochs", self.training.num_train_epochs),
            ("max_length", self.max_length),
        ];
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("method.multitask_sft.{name} must be at least 1")),
            None => Ok(()),
        }
    }
}

/// A prompt's tokens and those of the answer that is imitated.
type Row = (Vec<u32>, Vec<u32>);

/// Minimises the mean negative log-likelihood of the tokens of all tasks' chosen answers. `watch` gets the updates made,
/// all updates, and the loss of each in nats a token.
///
/// # Errors
/// Pairs that cannot be used, or a loss or gradient that is not finite.
pub fn train(
    checkpoint: &Checkpoint,
    options: &SftOptions,
    mut watch: impl FnMut(u64, u64, f64),
) -> Result<LoraAdapter, TrainError> {
    let rows = rows(checkpoint, options)?;
    let base = load_base(checkpoint, options.max_length)?;
    let LoraOptions { r, lora_alpha, a_seed } = options.lora;
    let adapter = LoraAdapter::init(base.geometry(), r, lora_alpha, a_seed)?;
    let TrainingOptions { learning_rate, max_grad_norm, num_train_epochs, batch_size, seed } = options.training;
    let variables = adapter.variables().into_iter().map(|(_, var)| var).collect();
    let mut adam = Adam::new(variables, learning_rate, max_grad_norm);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let all = (rows.len().div_ceil(batch_size) * num_train_epochs) as u64;
    let mut done = 0;
    for _ in 0..num_train_epochs {
        order.shuffle(&mut rng);
        for chunk in order.chunks(batch_size) {
            adam.set_learning_rate(learning_rate * (1.0 - done as f64 / all as f64));
            done += 1;
            let loss = update(&base, &adapter, &mut adam, chunk.iter().map(|&row| &rows[row]), done)?;
            watch(done, all, loss);
        }
    }
    Ok(adapter)
}

fn update<'a>(
    base: &Base,
    adapter: &LoraAdapter,
    adam: &mut Adam,
    rows: impl Iterator<Item = &'a Row>,
    step: u64,
) -> Result<f64, TrainError> {
    let pairs: Vec<_> = rows.map(|(prompt, answer)| (prompt.as_slice(), answer.as_slice())).collect();
    let log_probs = score(base, Some(&adapter.tracked()), &pairs)?.log_probs;
    let values = to_vec(&log_probs)?;
    let count = values.len();
    let loss = -values.iter().copied().map(f64::from).sum::<f64>() / count as f64;
    if !loss.is_finite() {
        return Err(TrainError::NotFinite { step, what: "loss" });
    }
    let slopes = Tensor::from_vec(vec![-1.0 / count as f32; count], count, &Device::Cpu)?;
    let norm = adam.step(&(log_probs * slopes)?.sum_all()?.backward()?)?;
    if norm.is_finite() { Ok(loss) } else { Err(TrainError::NotFinite { step, what: "gradient" }) }
}

fn rows(checkpoint: &Checkpoint, options: &SftOptions) -> Result<Vec<Row>, TrainError> {
    let end = checkpoint.config().eos_token_ids.first();
    let mut rows = Vec::new();
    for SftTask { pairs: file, instruction } in &options.tasks {
        for pair in pairs::read(file)? {
            let prompt = chat_tokens(checkpoint, &instructed(&pair.prompt, &[instruction]))?;
            let answer = checkpoint.tokenizer().encode(&pair.chosen, false);
            let mut answer = answer.map_err(|error| TrainError::Base(error.to_string()))?;
            answer.extend(end);
            if prompt.len() + answer.len() <= options.max_length {
                rows.push((prompt, answer));
            }
        }
    }
    if rows.is_empty() {
        let longest = options.max_length;
        return Err(TrainError::Invalid(format!("no pair of at most {longest} tokens to imitate")));
    }
    Ok(rows)
}
