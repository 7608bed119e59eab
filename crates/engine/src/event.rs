//! What a generation tells its owner.

use crate::error::GenerationError;

/// One event of a generation. After `Finished` or `Failed` nothing follows.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was chosen. An end-of-sequence token is told too, with empty text.
    Token {
        /// Counts from 0.
        index: usize,
        /// The token.
        id: u32,
        /// The text that became certain with it; may be empty.
        text: String,
        /// Natural logarithm of its probability under the model, before temperature and filters.
        logprob: f32,
    },
    /// The answer is complete.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens chosen.
        generated_tokens: usize,
        /// The seed that was used.
        seed: u64,
        /// Text that was held back until the end. The texts of all events make up the answer.
        text: String,
    },
    /// The answer broke off.
    Failed(GenerationError),
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// It reached `max_new_tokens`.
    Length,
    /// The model ended it.
    EosToken,
    /// A stop sequence came up; it is not part of the text.
    StopSequence,
}

/// How a soup is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SoupPath {
    /// Unmerged, inside the shared batch.
    Gate,
    /// From merged weights.
    Materialised,
}

/// Which path a submission asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathChoice {
    /// Merged weights when they are there or the method needs them, otherwise the gate.
    #[default]
    Auto,
    /// The gate, for every soup that has one.
    Gate,
    /// Merged weights.
    Materialised,
}
