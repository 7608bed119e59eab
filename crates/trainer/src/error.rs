//! What can go wrong in a training run.

use std::path::{Path, PathBuf};

use thiserror::Error;
use tureen_engine::DeviceError;

/// Why a command of the trainer stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A configuration that does not parse.
    #[error("{path}: {message}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A record of a JSON or JSONL file that cannot be used.
    #[error("{}:{line}: {message}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The line that the record begins in, from 1.
        line: usize,
        /// What is wrong with which field.
        message: String,
    },
    /// Settings, prompts or files that do not fit together.
    #[error("{0}")]
    Invalid(String),
    /// The base model could not be loaded or does not fit.
    #[error("base model: {0}")]
    Base(String),
    /// The GPU that was asked for cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Loss or gradient became NaN or infinite; the last checkpoint, where there is one, is good.
    #[error("step {step}: the {what} is not finite; what was saved before is still good")]
    NotFinite {
        /// The step that was given up.
        step: u64,
        /// What it was.
        what: &'static str,
    },
    /// The engine gave no answer.
    #[error("generating an answer: {0}")]
    Generation(String),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A plot could not be drawn.
    #[error("plot: {0}")]
    Plot(String),
}

impl TrainError {
    /// An error of the file at `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
