//! `rollout`: prompts to answers, for `annotate`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::{Deserialize, Serialize};
use tureen_engine::{Checkpoint, Precision};

use super::device::DeviceArgs;
use super::progress::bar;
use crate::answering::{AnswerOptions, PreferenceOptions, answer_prompts, longest_prompt};
use crate::config::{ModelOptions, read_checked};
use crate::error::TrainError;
use crate::generator::{Computing, Generator};
use crate::prompts::{Split, read, short};

/// Most answers to one prompt: `annotate` compares each two.
const MOST: usize = 16;

/// Answers prompts under the instructions of preferences.
#[derive(Args, Debug)]
pub struct RolloutArgs {
    /// The configuration (TOML).
    #[arg(long)]
    pub config: PathBuf,
    /// Where it computes.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// A rollout.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutConfig {
    /// Folder of the answers, `ID.jsonl` for each preference.
    pub out: PathBuf,
    /// Who answers.
    pub model: ModelOptions,
    /// What is asked.
    #[serde(default)]
    pub prompts: RolloutPrompts,
    /// How it is answered.
    #[serde(default)]
    pub generation: AnswerOptions,
    /// The preferences.
    pub preferences: Vec<PreferenceOptions>,
}

/// The prompts of a rollout.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutPrompts {
    /// A prompt file; none means the built-in training prompts.
    pub file: Option<PathBuf>,
    /// Longer prompts are left out.
    pub max_prompt_tokens: usize,
}

impl Default for RolloutPrompts {
    fn default() -> Self {
        Self { file: None, max_prompt_tokens: 128 }
    }
}

impl RolloutConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// A file that cannot be read, unknown keys, or values that cannot be used.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        read_checked(path, Self::check)
    }

    fn check(&self) -> Result<(), String> {
        let AnswerOptions { answers, max_new_tokens, temperature, top_p, seed: _ } = self.generation;
        if self.preferences.is_empty() {
            return Err("preferences: at least one is needed".into());
        }
        for (index, PreferenceOptions { id, opposite, .. }) in self.preferences.iter().enumerate() {
            let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            if id.is_empty() || !id.chars().all(word) || self.preferences[..index].iter().any(|other| other.id == *id) {
                return Err(format!("preferences: {id:?} is no name of a-z, 0-9, - and _, or is there twice"));
            }
            let count = answers * if opposite.is_some() { 3 } else { 2 };
            if !(2..=MOST).contains(&count) {
                return Err(format!("preferences: {id} comes to {count} answers a prompt instead of 2 to {MOST}"));
            }
        }
        if max_new_tokens == 0 || !(temperature > 0.0 && temperature <= 10.0) || !(top_p > 0.0 && top_p <= 1.0) {
            return Err("generation: max_new_tokens, temperature or top_p is out of bounds".into());
        }
        Ok(())
    }
}

/// Writes the answers; a run that was broken off goes on where it was.
///
/// # Errors
/// A base or prompts that cannot be used, or files that cannot be written.
pub fn rollout(args: RolloutArgs) -> Result<(), TrainError> {
    let RolloutArgs { config, device } = args;
    let device = device.chosen()?;
    let RolloutConfig { out, model, prompts, generation, preferences } = RolloutConfig::read(&config)?;
    let checkpoint = Checkpoint::open(&model.base).map_err(|error| TrainError::Base(error.to_string()))?;
    let checkpoint = Arc::new(checkpoint);
    let prompts = short(&checkpoint, read(prompts.file.as_deref(), Split::Train)?, prompts.max_prompt_tokens)?;
    let mut longest = 0;
    for preference in &preferences {
        longest = longest.max(longest_prompt(&checkpoint, &prompts, preference)?);
    }
    std::fs::create_dir_all(&out).map_err(TrainError::io(&out))?;
    let computing = Computing { device, precision: Precision::Int8 };
    let generator = Generator::start(checkpoint, longest + generation.max_new_tokens, computing)?;
    for preference in preferences {
        let path = out.join(format!("{}.jsonl", preference.id));
        let bar = bar(prompts.len() as u64, "prompts").with_message(preference.id.clone());
        let written = answer_prompts(&generator, &prompts, &preference, &generation, &path, |done| {
            bar.set_position(done as u64);
            tracing::info!(preference = preference.id, done, all = prompts.len(), "prompts answered");
        })?;
        bar.finish_and_clear();
        let (answered, remembered) = (written.answered, written.remembered);
        println!("{}: {answered} prompts answered, {remembered} taken up from before", path.display());
    }
    Ok(())
}
