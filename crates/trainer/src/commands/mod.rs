//! The subcommands, one file each.

mod evaluate;
mod ppo;
mod publish;

pub use evaluate::{EvaluateArgs, evaluate};
pub use ppo::{PpoArgs, ppo};
pub use publish::{PublishArgs, publish};
