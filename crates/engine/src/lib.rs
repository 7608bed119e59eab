//! Continuous batching over soups: every preference in one batch.
//!
//! [`Checkpoint`] opens a base, [`Engine`] serves it with a pool of policies: [`Submission`]s go in, [`Event`]s come
//! out. Soups are served unmerged by the gate or from merged weights; [`SoupBackend`] hands merged weights to candle.
//! No tensor type and no HTTP crosses the engine's face.

mod answer;
mod budget;
mod chat;
mod checkpoint;
mod device;
mod engine;
mod error;
mod event;
mod generation;
mod kv;
mod model;
mod model_config;
mod options;
mod sampling;
mod scheduler;
mod soups;
mod stats;
mod tokenizer;

pub use chat::{ChatError, ChatTemplate, Message};
pub use checkpoint::{Checkpoint, CheckpointError, GgufError};
pub use engine::{Beside, Engine, Submission, Text};
pub use error::{EngineError, GenerationError, SubmitError};
pub use event::{Event, FinishReason, PathChoice, SoupPath};
pub use generation::Generation;
pub use model_config::{ModelConfig, RopeScaling};
pub use options::{DeviceChoice, EngineOptions, Fault};
pub use sampling::SamplingParams;
pub use soups::SoupBackend;
pub use stats::EngineStats;
pub use tokenizer::{Detokenizer, Tokenizer, TokenizerError};
pub use tureen_cuda::DeviceError;
pub use tureen_kernels::{Isa, Precision};

#[cfg(test)]
mod tests;
