//! The subcommands, one file each.

mod evaluate;
mod ppo;
mod publish;
mod reward;

pub use evaluate::{EvaluateArgs, evaluate};
pub use ppo::{PpoArgs, ppo};
pub use publish::{PublishArgs, publish};
pub use reward::{RewardArgs, RewardConfig, RewardReport, reward};
