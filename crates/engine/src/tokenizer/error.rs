//! Why a tokenizer was refused.

/// Why a tokenizer cannot be used or refused a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A part that is unknown here and would be served wrongly.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The vocabulary or the merges contradict themselves.
    #[error("{0}")]
    Invalid(String),
    /// The tokenizers library refused.
    #[error("{0}")]
    Library(String),
}

impl TokenizerError {
    pub(crate) fn library(error: impl std::fmt::Display) -> Self {
        Self::Library(error.to_string())
    }
}
