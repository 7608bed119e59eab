//! What becomes of a generation, step by step.

use tureen_engine::FinishReason;

use crate::problem::ApiError;
use crate::wire::answer::{Details, Token};
use crate::wire::explanation::Explanation;

/// What happened next.
#[derive(Debug)]
pub enum Step {
    /// A token came.
    Token {
        /// Counts from 0.
        index: usize,
        /// The token.
        token: Token,
    },
    /// The answer is whole. Nothing follows.
    Finished(Finished),
    /// The answer broke off. Nothing follows.
    Failed(ApiError),
}

/// How an answer ended.
#[derive(Debug)]
pub struct Finished {
    /// Index for the last event.
    pub index: usize,
    /// Text that was held back until the end.
    pub tail: String,
    /// The whole text.
    pub text: String,
    /// Why it ended.
    pub reason: Reason,
    /// Counts and seed.
    pub details: Details,
    /// Which policy wanted it, if that was asked.
    pub explanation: Option<Explanation>,
    /// The review of an answer that is held.
    pub review: Option<String>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The engine ended it.
    Engine(FinishReason),
    /// A check of the server did.
    ContentFilter,
    /// A person has to decide about it.
    Held,
}

/// What is known of an answer before it ends.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens that the engine chose.
    pub generated_tokens: usize,
    /// Of the sampler.
    pub seed: u64,
}
