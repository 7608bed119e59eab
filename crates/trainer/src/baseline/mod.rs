//! What personalized soups are compared with, and what has to be trained for it.
//!
//! | method | trained | at inference |
//! |---|---|---|
//! | prompting | nothing | the base, with the instructions in the prompt |
//! | RLHF | one policy, PPO on a general reward | that policy |
//! | Prompted-MORL | one policy, PPO on prompts with the instructions of one preference per dimension; the reward of an answer is the mean of those preferences' | that policy, with the instructions |
//! | multi-task SFT | one policy, on the preferred answers to prompts with their instruction | that policy, with the instructions |

mod sft;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use sft::{SftOptions, SftTask, train as train_sft};

use crate::config::{Config, ModelOptions, read_checked};
use crate::error::TrainError;
use crate::preferences::ActiveOptions;

/// A baseline and the pool that it is entered into.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineConfig {
    /// Folder of the baselines' pool: not the one of the policies that are mixed.
    pub pool: PathBuf,
    /// What is trained.
    pub method: MethodOptions,
}

/// What is trained: one table, `[method.rlhf]`, `[method.prompted_morl]` or `[method.multitask_sft]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MethodOptions {
    /// A PPO run with a general reward.
    Rlhf(Box<Config>),
    /// A PPO run over all preferences.
    PromptedMorl(Box<MorlOptions>),
    /// Imitation of preferred answers.
    MultitaskSft(Box<SftOptions>),
}

/// One policy for all preferences.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MorlOptions {
    /// The preferences.
    pub preferences: Vec<ActiveOptions>,
    /// The run; it has no reward of its own.
    pub run: Config,
}

impl MethodOptions {
    /// The base that is trained from.
    pub(crate) fn model_mut(&mut self) -> &mut ModelOptions {
        match self {
            Self::Rlhf(run) => &mut run.model,
            Self::PromptedMorl(morl) => &mut morl.run.model,
            Self::MultitaskSft(sft) => &mut sft.model,
        }
    }
}

impl BaselineConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// A file that cannot be read, unknown keys, or values that cannot work together.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        read_checked(path, |config: &Self| match &config.method {
            MethodOptions::Rlhf(run) => run.check(),
            MethodOptions::PromptedMorl(morl) => morl.check(),
            MethodOptions::MultitaskSft(sft) => sft.check(),
        })
    }
}

impl MorlOptions {
    fn check(&self) -> Result<(), String> {
        if self.preferences.is_empty() {
            return Err("method.prompted_morl.preferences: at least one is needed".into());
        }
        if self.run.reward.rule.is_some() || !self.run.reward.parts.is_empty() {
            return Err("method.prompted_morl.run has a reward, and the preferences have theirs".into());
        }
        self.preferences.iter().try_for_each(|preference| preference.reward.check())?;
        self.run.check_run()
    }
}
