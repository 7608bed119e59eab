//! What is recorded.

use serde::{Deserialize, Serialize};

/// One line of the log, without its tag.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record<E> {
    /// Counts from 1 over all segments.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: E,
}

/// What happened.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A segment began.
    Segment {
        /// Its number.
        segment: u32,
        /// The tag of the last line of the segment before, in hex.
        before: String,
        /// Of the server.
        version: String,
    },
    /// At a start, the end of the log was no whole line: the process had been killed while it wrote. What stood there
    /// was taken out.
    Healed {
        /// How much of it there was.
        bytes: u64,
        /// Its fingerprint.
        fingerprint: String,
    },
    /// An answer ended.
    Generation(Box<GenerationRecord>),
    /// Rules or checks decided about a request that got no answer.
    Refusal(Box<RefusalRecord>),
    /// A person decided about what checks had held.
    Review(ReviewRecord),
}

/// What rules and checks decided about a request that got no answer. Without any text: who was refused, and by what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// `x-request-id`
    pub request: String,
    /// Id of the key that asked; none where no key is needed.
    pub key: Option<String>,
    /// Stands for the user whose profile was asked for.
    pub user: Option<String>,
    /// Revision of the pool.
    pub revision: String,
    /// What was asked for.
    pub asked: SoupRecord,
    /// Codes of the rules that were not kept.
    pub rules: Vec<String>,
    /// What the checks of the prompt found.
    pub guard: Vec<GuardRecord>,
    /// The code of the refusal; `left` when the client went away before.
    pub code: String,
    /// Id of the review, when a person decides or has decided about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<String>,
}

/// What a person decided.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReviewRecord {
    /// Id of the review.
    pub review: String,
    /// `x-request-id` of what was held.
    pub request: String,
    /// `input` or `output`
    pub side: String,
    /// The checks that held it.
    pub checks: Vec<String>,
    /// `approved` or `rejected`
    pub decision: String,
    /// Id of the key that decided; none where no key is needed.
    pub key: Option<String>,
    /// Of the messages as the person saw them.
    pub prompt_fingerprint: String,
    /// Of the answer, when that was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_fingerprint: Option<String>,
}

/// Everything that is needed to make an answer again, and to tell whether it is the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// `x-request-id`
    pub request: String,
    /// Id of the key that asked; none where no key is needed.
    pub key: Option<String>,
    /// Stands for the user whose profile was used.
    pub user: Option<String>,
    /// Revision of the pool.
    pub revision: String,
    /// What was served.
    pub soup: SoupRecord,
    /// What was asked for, when rules changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<SoupRecord>,
    /// Codes of the rules that were not kept.
    pub rules: Vec<String>,
    /// `gate` or `materialised`
    pub path: String,
    /// How tokens were chosen.
    pub parameters: ParametersRecord,
    /// Where it was computed.
    pub engine: EngineRecord,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of the messages, as JSON.
    pub prompt_fingerprint: String,
    /// How it ended.
    pub answer: AnswerRecord,
    /// What the checks of prompt and answer found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guard: Vec<GuardRecord>,
    /// The messages, when the configuration says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The answer, when the configuration says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A soup. Numbers are text, which keeps every bit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoupRecord {
    /// Names its content.
    pub id: String,
    /// `NAME=WEIGHT,...`
    pub weights: String,
    /// Merge method.
    pub method: String,
    /// Scale of the whole change.
    pub strength: String,
    /// Whether the weights were scaled to sum 1.
    pub normalize: bool,
    /// Share of the change that is kept.
    pub density: String,
    /// Seed of what is drawn in merging.
    pub seed: u64,
}

/// How tokens were chosen. Stop sequences are text of the client's, so they are counted: a replay ends where the answer
/// did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParametersRecord {
    /// Most tokens.
    pub max_new_tokens: usize,
    /// 0 is greedy.
    pub temperature: f32,
    /// 1 is off.
    pub top_p: f32,
    /// 0 is off.
    pub top_k: usize,
    /// 0 is off.
    pub min_p: f32,
    /// 1 is off.
    pub repetition_penalty: f32,
    /// Of the sampler.
    pub seed: u64,
    /// How many there were.
    pub stop_sequences: usize,
    /// Whether it went on after the end.
    pub ignore_eos: bool,
    /// Added to logits.
    pub logit_bias: Vec<(u32, f32)>,
}

/// What the bits of an answer depend on besides the soup and the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRecord {
    /// Instruction set of the kernels.
    pub isa: String,
    /// Number format of weights and activations.
    pub precision: String,
    /// Of the server.
    pub version: String,
}

/// How an answer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// `length`, `eos_token`, `stop_sequence`, `content_filter` or `held`; `left` when the client went away, or the code of the error that ended it.
    pub end: String,
    /// Tokens that were chosen.
    pub tokens: usize,
    /// Of each token's id and the bits of its log-probability.
    pub tokens_fingerprint: String,
    /// Of the text.
    pub text_fingerprint: String,
    /// Of what left of it, when answers are checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_fingerprint: Option<String>,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardRecord {
    /// Its name in the configuration.
    pub check: String,
    /// `input` or `output`
    pub side: String,
    /// What was done: `allow`, `redact`, `block` or `hold`; `failed_open` when it could not be made.
    pub action: String,
    /// How often.
    pub count: usize,
}
