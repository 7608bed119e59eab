//! The subcommands, one file each.

mod annotate;
mod baseline;
mod device;
mod evaluate;
mod jobs;
mod ppo;
mod progress;
mod publish;
mod reward;
mod rollout;
mod updates;

pub use annotate::{AnnotateArgs, AnnotateConfig, annotate};
pub use baseline::{BaselineArgs, baseline};
pub use device::DeviceArgs;
pub use evaluate::{EvaluateArgs, evaluate};
pub use ppo::{PpoArgs, ppo};
pub use publish::{PublishArgs, publish};
pub use reward::{RewardArgs, RewardConfig, RewardReport, reward};
pub use rollout::{RolloutArgs, RolloutConfig, RolloutPrompts, rollout};
