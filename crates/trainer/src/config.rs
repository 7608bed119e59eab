//! The configuration of a PPO run: one TOML file per policy, options grouped by what they control.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tureen_engine::DeviceChoice;

use crate::error::TrainError;
use crate::reward::{GateOptions, PartOptions, Rule};
pub use crate::warm_start::{Turn, WarmStart};

/// A whole run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The policy that is made.
    pub policy: PolicyConfig,
    /// The base it is made from.
    pub model: ModelOptions,
    /// What it is prompted with.
    #[serde(default)]
    pub prompts: PromptOptions,
    /// Its trainable part.
    #[serde(default)]
    pub lora: LoraOptions,
    /// How it is sampled.
    #[serde(default)]
    pub generation: GenerationOptions,
    /// What it is rewarded for.
    #[serde(default)]
    pub reward: RewardOptions,
    /// How it begins, where the base hardly ever shows the preference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_start: Option<WarmStart>,
    /// How it is optimised.
    #[serde(default)]
    pub ppo: PpoOptions,
    /// Where the run writes, and how often.
    pub run: RunOptions,
}

/// The policy's entry in the pool.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// Name in the pool, `[a-z0-9][a-z0-9_-]{0,63}`.
    pub id: String,
    /// The method's code, such as P1A.
    pub code: String,
    /// The dimension it is a pole of.
    pub dimension: String,
    /// The preference in words.
    pub instruction: String,
    /// SPDX licence of the adapter.
    pub license: String,
}

/// The base model.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelOptions {
    /// A GGUF file or a Hugging Face directory.
    pub base: PathBuf,
    /// What computes; the command line says it, as a run may go on elsewhere.
    #[serde(skip)]
    pub device: DeviceChoice,
}

/// Prompts to train on and to look at.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptOptions {
    /// File with one prompt a line (`.txt`) or `{"prompt": ...}` a line (`.jsonl`); none means the built-in set.
    pub train: Option<PathBuf>,
    /// The same for the held-out prompts, which are never trained on.
    pub heldout: Option<PathBuf>,
    /// Longer prompts are left out.
    pub max_prompt_tokens: usize,
}

impl Default for PromptOptions {
    fn default() -> Self {
        Self { train: None, heldout: None, max_prompt_tokens: 40 }
    }
}

/// The adapter.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraOptions {
    /// Rank of every module.
    pub r: usize,
    /// Scaling numerator.
    pub lora_alpha: f64,
    /// Seed of the initial A factors; policies that are mixed share it.
    pub a_seed: u64,
}

impl Default for LoraOptions {
    fn default() -> Self {
        Self { r: 16, lora_alpha: 32.0, a_seed: 20231011 }
    }
}

/// Sampling of the responses, at temperature 1 with nothing cut off.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationOptions {
    /// Shortest limit that a step draws, in tokens.
    pub output_min_length: usize,
    /// Longest limit that a step draws, in tokens.
    pub output_max_length: usize,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self { output_min_length: 32, output_max_length: 48 }
    }
}

impl GenerationOptions {
    /// The mean limit of the steps, in tokens.
    pub fn mean_length(&self) -> usize {
        self.output_min_length.midpoint(self.output_max_length)
    }
}

/// The reward: a rule, further parts, or both, added up with their weights.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardOptions {
    /// The built-in rule.
    pub rule: Option<Rule>,
    /// What the rule counts.
    #[serde(skip_serializing_if = "is_one")]
    pub weight: f64,
    /// The preference is raised to this power before it meets the gate: above 1 it weighs more than the gate.
    pub preference_power: f64,
    /// The content gate.
    pub gate: GateOptions,
    /// Further parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartOptions>,
}

impl Default for RewardOptions {
    fn default() -> Self {
        Self { rule: None, weight: 1.0, preference_power: 1.0, gate: GateOptions::default(), parts: Vec::new() }
    }
}

impl RewardOptions {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.rule.is_none() && self.parts.is_empty() {
            return Err("reward needs a rule or parts".into());
        }
        let weights = self.parts.iter().map(|part| match part {
            PartOptions::Model { weight, .. }
            | PartOptions::Gate { weight }
            | PartOptions::Length { weight, .. }
            | PartOptions::NoEos { weight } => weight,
        });
        if weights.chain([&self.weight]).any(|weight| !weight.is_finite()) {
            return Err("reward weights must be finite".into());
        }
        if !self.preference_power.is_finite() || self.preference_power <= 0.0 {
            return Err("reward.preference_power must be above 0".into());
        }
        let empty =
            |part: &PartOptions| matches!(part, PartOptions::Length { tokens, .. } if !(1.0..=1e6).contains(tokens));
        if self.parts.iter().any(empty) {
            return Err("reward.parts: tokens of a length must be from 1 to 1000000".into());
        }
        Ok(())
    }
}

/// PPO, with the names of TRL.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PpoOptions {
    /// Steps of the whole run.
    pub steps: u64,
    /// Responses sampled in a step.
    pub batch_size: usize,
    /// Responses per update.
    pub mini_batch_size: usize,
    /// Passes over the responses of a step.
    pub ppo_epochs: usize,
    /// Learning rate of Adam.
    pub learning_rate: f64,
    /// Longest gradient.
    pub max_grad_norm: f64,
    /// First weight of the KL penalty at the target.
    pub init_kl_coef: f64,
    /// KL of a response to the base that the weight is adapted to, in nats. `publish` takes no step much above it.
    pub target: f64,
    /// Responses over which the weight at the target may change by a fifth.
    pub horizon: f64,
    /// How steeply the weight follows the KL ([`AdaptiveKl`](crate::ppo::AdaptiveKl)); 0 is TRL's controller.
    pub kl_gain: f64,
    /// Discount.
    pub gamma: f64,
    /// Lambda of the advantage estimate.
    pub lam: f64,
    /// Clip of the ratio.
    pub cliprange: f64,
    /// Clip of the values.
    pub cliprange_value: f64,
    /// Weight of the value loss.
    pub vf_coef: f64,
    /// Mean ratio above which a minibatch is skipped.
    pub ratio_threshold: f64,
    /// Change of the policy, in nats a token, 1.5 times which ends a step's epochs.
    pub target_kl: f64,
    /// Whether layers are computed again in the backward instead of being kept; none means where they would take over 1.5 GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_checkpointing: Option<bool>,
    /// Seed of prompts, sampling and minibatches.
    pub seed: u64,
}

impl Default for PpoOptions {
    fn default() -> Self {
        Self {
            steps: 70,
            batch_size: 24,
            mini_batch_size: 8,
            ppo_epochs: 2,
            learning_rate: 5e-4,
            max_grad_norm: 1.0,
            init_kl_coef: 0.08,
            target: 8.0,
            horizon: 1000.0,
            kl_gain: 2.5,
            gamma: 1.0,
            lam: 0.95,
            cliprange: 0.2,
            cliprange_value: 0.2,
            vf_coef: 0.1,
            ratio_threshold: 10.0,
            target_kl: 0.1,
            gradient_checkpointing: None,
            seed: 1,
        }
    }
}

/// Files and rhythm of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RunOptions {
    /// Folder of checkpoints, metrics and curves.
    pub out: PathBuf,
    /// Checkpoint of a run with other settings that this one takes over from: weights, optimiser, moments and step. The KL
    /// weight starts anew, at the KL where that run was.
    #[serde(default)]
    pub start_from: Option<PathBuf>,
    /// Steps between checkpoints.
    #[serde(default = "five")]
    pub save_freq: u64,
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

fn five() -> u64 {
    5
}

/// Reads a configuration that `check` allows.
pub(crate) fn read_checked<T: DeserializeOwned>(
    path: &Path,
    check: impl FnOnce(&T) -> Result<(), String>,
) -> Result<T, TrainError> {
    let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
    let invalid = |message: String| TrainError::Config { path: path.to_owned(), message };
    let config = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    check(&config).map_err(invalid)?;
    Ok(config)
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// A file that cannot be read, unknown keys, or values that cannot work together.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        read_checked(path, Self::check)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_run()?;
        self.reward.check()
    }

    /// Everything but the reward.
    pub(crate) fn check_run(&self) -> Result<(), String> {
        self.warm_start.as_ref().map_or(Ok(()), WarmStart::check)?;
        let (ppo, generation) = (&self.ppo, &self.generation);
        let positive = [
            ("ppo.steps", ppo.steps as usize),
            ("ppo.mini_batch_size", ppo.mini_batch_size),
            ("ppo.ppo_epochs", ppo.ppo_epochs),
            ("lora.r", self.lora.r),
            ("generation.output_min_length", generation.output_min_length),
            ("run.save_freq", self.run.save_freq as usize),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        if ppo.batch_size < ppo.mini_batch_size {
            return Err("ppo.batch_size must be at least ppo.mini_batch_size".into());
        }
        if generation.output_max_length < generation.output_min_length {
            return Err("generation.output_max_length must be at least output_min_length".into());
        }
        let scales =
            [("ppo.learning_rate", ppo.learning_rate), ("ppo.target", ppo.target), ("ppo.horizon", ppo.horizon)];
        if let Some((name, _)) = scales.iter().find(|(_, value)| !value.is_finite() || *value <= 0.0) {
            return Err(format!("{name} must be above 0"));
        }
        if !(0.0..=10.0).contains(&ppo.kl_gain) {
            return Err("ppo.kl_gain must be from 0 to 10".into());
        }
        Ok(())
    }
}
