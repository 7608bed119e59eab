//! Runs a base model and the soups made from it.

mod chat;
mod checkpoint;
mod model_config;
mod tokenizer;

pub use chat::{ChatError, ChatTemplate, Message};
pub use checkpoint::{Checkpoint, CheckpointError, GgufError};
pub use model_config::{ModelConfig, RopeScaling};
pub use tokenizer::{Detokenizer, Tokenizer, TokenizerError};
