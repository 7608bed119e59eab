//! What can go wrong, one error for each cause.

/// The engine could not start, or not take a pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The checkpoint could not be read.
    #[error("reading the base: {0}")]
    Checkpoint(#[from] crate::checkpoint::CheckpointError),
    /// An option that makes no sense.
    #[error("engine option {name}: {reason}")]
    Option {
        /// The option.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The operating system gave no thread.
    #[error("starting a thread: {0}")]
    Thread(String),
    /// The GPU that was asked for is not there.
    #[error(transparent)]
    Device(#[from] tureen_cuda::DeviceError),
    /// The GPU failed.
    #[error("the GPU failed: {0}")]
    DeviceFailed(String),
    /// The GPU has too little memory left.
    #[error(
        "{device} has {free} of {memory} bytes free, {needed} are needed: weights {weights}, policies {policies}, KV cache \
         {kv}, merged soups {soups}, buffers {buffers}; a smaller engine.memory_budget needs less"
    )]
    DeviceMemory {
        /// Its name.
        device: String,
        /// Bytes of the base.
        weights: u64,
        /// Bytes of the stacked policies.
        policies: u64,
        /// Bytes of all pages of keys and values.
        kv: u64,
        /// Bytes that merged soups may take beside them.
        soups: u64,
        /// Bytes for merging and for the inside of a step.
        buffers: u64,
        /// All of it.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// All of them.
        memory: u64,
    },
    /// The pool belongs to another base.
    #[error("the pool was made for base {pool}, this engine serves {base}")]
    OtherBase {
        /// The pool's base.
        pool: String,
        /// The engine's.
        base: String,
    },
    /// A second revision, beside which the longest request would not fit any more.
    #[error(
        "the factors of this revision take {factors} bytes and the longest request {request}: together over the memory \
         budget of {budget}"
    )]
    TooLarge {
        /// Bytes of the revision's factors.
        factors: u64,
        /// Bytes of a whole context and of the largest merged soup.
        request: u64,
        /// The whole budget.
        budget: u64,
    },
    /// A second revision, for which there is no room now.
    #[error("the factors of this revision take {factors} bytes; {used} of the budget of {budget} are in use")]
    NoRoom {
        /// Bytes of the revision's factors.
        factors: u64,
        /// Bytes in use that nobody gives up.
        used: u64,
        /// The whole budget.
        budget: u64,
    },
}

/// A submission was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many are waiting already.
    #[error("too many requests are waiting")]
    QueueFull,
    /// A submission that would not fit the memory budget if it were alone; or logits, for which there is no room now.
    #[error("this needs {needed} bytes; {used} of the budget of {budget} are in use")]
    OutOfMemory {
        /// Bytes of its KV cache, or of its merged weights.
        needed: u64,
        /// Bytes in use.
        used: u64,
        /// The whole budget.
        budget: u64,
    },
    /// Prompt and answer do not fit the context.
    #[error("{tokens} tokens of prompt and answer are over the context of {context}")]
    PromptTooLong {
        /// Prompt and longest answer.
        tokens: usize,
        /// The engine's context.
        context: usize,
    },
    /// A token that the vocabulary does not have.
    #[error("there is no token {id}: the vocabulary has {vocabulary}")]
    UnknownToken {
        /// The token.
        id: u32,
        /// How many there are.
        vocabulary: usize,
    },
    /// The GPU failed.
    #[error("the GPU failed: {0}")]
    DeviceFailed(String),
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    ShuttingDown,
}

/// A generation broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// The model computed something that is no number.
    #[error("the model's logits are not finite; the policies in this soup may be damaged")]
    NotFinite,
    /// The step that computed this generation crashed.
    #[error("the engine failed in this step; other requests go on")]
    Panicked,
    /// The GPU failed in the step that computed this generation.
    #[error("the GPU failed: {0}")]
    DeviceFailed(String),
    /// The soup could not be merged.
    #[error("merging the soup failed: {0}")]
    Merge(String),
    /// A shadow made room for requests.
    #[error("it made room for requests")]
    Displaced,
    /// The request was not taken.
    #[error(transparent)]
    Refused(#[from] SubmitError),
}

impl GenerationError {
    /// A device failed. Errors of candle may carry a backtrace behind their first line.
    pub(crate) fn of_device(error: &candle_core::Error) -> Self {
        Self::DeviceFailed(error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    /// A stable name for clients and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ShuttingDown => "shutting_down",
            Self::NotFinite => "logits_not_finite",
            Self::Panicked => "engine_panicked",
            Self::DeviceFailed(_) | Self::Refused(SubmitError::DeviceFailed(_)) => "device_failed",
            Self::Merge(_) => "merge_failed",
            Self::Displaced => "displaced",
            Self::Refused(SubmitError::QueueFull) => "queue_full",
            Self::Refused(SubmitError::OutOfMemory { .. }) => "out_of_memory",
            Self::Refused(SubmitError::PromptTooLong { .. }) => "prompt_too_long",
            Self::Refused(SubmitError::UnknownToken { .. }) => "unknown_token",
            Self::Refused(SubmitError::ShuttingDown) => "shutting_down",
        }
    }
}
