//! Feedback on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tureen_engine::Message;
use tureen_soup::Preference;
use utoipa::ToSchema;

use super::generate::{ChatMessage, conversation};
use super::merge::PreferenceSchema;
use crate::config::Limits;
use crate::extract::Validate;
use crate::learning::Question;
use crate::problem::ApiError;

/// What a user thinks of answers: a choice (`chosen` and `rejected`), a rating (`answer` and `rating`), or an edited answer
/// (`answer` and `edited`). Answers are named by request id, or given as text beside the prompt. Unknown fields are refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "inputs": "Why is the sky blue?",
    "chosen": {"text": "Air scatters blue light most."},
    "rejected": {"text": "That is a long story."}
}))]
pub struct FeedbackRequest {
    /// The prompt, where answers are texts. Either this or `messages`.
    inputs: Option<String>,
    /// The conversation, where answers are texts.
    messages: Option<Vec<ChatMessage>>,
    /// The answer that was preferred.
    chosen: Option<AnswerName>,
    /// The answer that was not.
    rejected: Option<AnswerName>,
    /// The answer that was rated or edited.
    answer: Option<AnswerName>,
    /// From 0 to 1; 0.5 is as good as the base.
    #[schema(minimum = 0.0, maximum = 1.0)]
    rating: Option<f64>,
    /// The answer as it should have been.
    edited: Option<String>,
}

/// An answer: `request_id` of the last hour, or `text`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum AnswerName {
    /// The id of the request that it answered.
    RequestId(String),
    /// The answer itself.
    Text(String),
}

/// A checked [`FeedbackRequest`].
#[derive(Debug)]
pub struct Feedback {
    /// The prompt of answers that are texts.
    pub messages: Option<Vec<Message>>,
    /// What was said about them.
    pub opinion: Opinion,
}

/// What was said about answers.
#[derive(Debug)]
pub enum Opinion {
    /// The first rather than the second.
    Choice(AnswerName, AnswerName),
    /// From 0 to 1.
    Rating(AnswerName, f64),
    /// It should have been this text.
    Edit(AnswerName, String),
}

impl Validate for FeedbackRequest {
    type Valid = Feedback;

    fn validate(self, limits: &Limits) -> Result<Feedback, ApiError> {
        let Self { inputs, messages, chosen, rejected, answer, rating, edited } = self;
        let opinion = match (chosen, rejected, answer, rating, edited) {
            (Some(chosen), Some(rejected), None, None, None) => Opinion::Choice(chosen, rejected),
            (None, None, Some(answer), Some(rating), None) if (0.0..=1.0).contains(&rating) => {
                Opinion::Rating(answer, rating)
            }
            (None, None, Some(_), Some(_), None) => {
                return Err(ApiError::invalid("invalid_field", "rating", "a rating is from 0 to 1"));
            }
            (None, None, Some(answer), None, Some(edited)) => Opinion::Edit(answer, edited),
            _ => {
                let detail = "send chosen and rejected, or answer and rating, or answer and edited";
                return Err(ApiError::invalid("invalid_field", "chosen", detail));
            }
        };
        let prompt = inputs.is_some() || messages.is_some();
        let messages = prompt.then(|| conversation(inputs, messages, limits)).transpose()?;
        Ok(Feedback { messages, opinion })
    }
}

/// What was learned.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeedbackView {
    /// The user.
    pub user: String,
    /// The preference that is served from now on.
    #[schema(value_type = PreferenceSchema)]
    pub preference: Preference,
    /// Choices, ratings and edits learned from.
    pub choices: u64,
    /// How probable this choice was before it was known.
    pub expected: f64,
    /// Each policy: what moved it, and how far.
    pub moved: BTreeMap<String, MovedView>,
    /// The same in a sentence.
    pub summary: String,
    /// The profile's new ETag.
    pub etag: String,
}

/// How one policy's weight moved.
#[derive(Debug, Serialize, ToSchema)]
pub struct MovedView {
    /// Its weight before.
    pub before: f64,
    /// Its weight now.
    pub after: f64,
    /// Standard deviation of the weight now.
    pub deviation: f64,
    /// How much more the policy wants the preferred answer than the other one, in nats, each measured against the base.
    pub gain: f64,
}

/// Two preferences to let a user choose between.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuestionView {
    /// Generate one answer with this; `{}` is the base.
    #[schema(value_type = PreferenceSchema)]
    pub first: Preference,
    /// ... and the other, to the same prompt, with this.
    #[schema(value_type = PreferenceSchema)]
    pub second: Preference,
    /// `merge.strength` of the first and of the second.
    pub strengths: [f64; 2],
    /// How much the choice would teach, in nats, by estimate.
    pub teaches: f64,
}

impl From<Question> for QuestionView {
    fn from(question: Question) -> Self {
        let Question { first, second, teaches } = question;
        let strengths = [first.strength, second.strength];
        Self { first: first.preference, second: second.preference, strengths, teaches }
    }
}
