//! Why a checkpoint was refused.

use std::io;
use std::path::{Path, PathBuf};

use crate::chat::ChatError;
use crate::checkpoint::gguf::GgufError;
use crate::tokenizer::TokenizerError;

/// Why a checkpoint, or a part of it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused a file.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Neither a GGUF file nor a Hugging Face directory.
    #[error("{0} is neither a .gguf file nor a directory with a config.json")]
    NotACheckpoint(PathBuf),
    /// The GGUF file is broken or cut off.
    #[error("{path}: {source}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: GgufError,
    },
    /// Something this engine does not know and would serve wrongly.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The configuration contradicts itself or lacks something.
    #[error("configuration: {0}")]
    Config(String),
    /// The weights do not fit the configuration; every difference is listed.
    #[error("weights do not fit the configuration:\n  {}", .0.join("\n  "))]
    Weights(Vec<String>),
    /// A file is not what its format demands.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint has no such tensor.
    #[error("no tensor is named {0}")]
    UnknownTensor(String),
    /// A file was changed after it was opened and hashed.
    #[error("{0} was changed while it was in use; replace a checkpoint by renaming, then start again")]
    Changed(PathBuf),
    /// The tokenizer is broken or unknown.
    #[error("tokenizer: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// The chat template does not compile.
    #[error("chat template: {0}")]
    Chat(#[from] ChatError),
    /// Decoding a tensor failed.
    #[error("tensor: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl CheckpointError {
    /// An [`Io`](Self::Io) of `path`, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// A [`Format`](Self::Format) of `path`.
    pub(crate) fn format(path: &Path, reason: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), reason: reason.into() }
    }
}
