//! The body of `POST /generate`.

use serde::{Deserialize, Serialize};
use tureen_engine::Message;
use tureen_soup::{MergeOptions, Preference};
use utoipa::ToSchema;

use super::merge::{MergeOptionsSchema, PreferenceSchema};
use super::parameters::Parameters;
use crate::config::Limits;
use crate::extract::{Validate, invalid_user};
use crate::order::{Order, Wish};
use crate::problem::ApiError;
use crate::store::UserId;

/// One request for text. Unknown fields are refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "inputs": "Why is the sky blue?",
    "preference": {"concise": 0.6, "friendly": 0.4},
    "parameters": {"max_new_tokens": 64}
}))]
pub struct GenerateRequest {
    /// What the user says: one user message, put through the model's chat template. Either this or `messages`.
    pub inputs: Option<String>,
    /// A conversation. Either this or `inputs`.
    pub messages: Option<Vec<ChatMessage>>,
    /// Weighted policies; left out or `{}` is the base.
    #[schema(value_type = Option<PreferenceSchema>)]
    pub preference: Option<Preference>,
    /// Use the preference of this user's profile, and its `merge` unless there is one here.
    pub user: Option<String>,
    /// How policies are mixed.
    #[schema(value_type = Option<MergeOptionsSchema>)]
    pub merge: Option<MergeOptions>,
    /// How tokens are chosen.
    pub parameters: Option<Parameters>,
    /// Answer with an event stream.
    #[serde(default)]
    pub stream: bool,
    /// Tell which policy wanted each token: costs about one more reading of prompt and answer for each policy.
    #[serde(default)]
    pub explain: bool,
}

/// One message of a conversation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A checked [`GenerateRequest`].
#[derive(Debug)]
pub struct GenerateOrder {
    /// What to generate.
    pub order: Order,
    /// Answer with an event stream.
    pub stream: bool,
    /// List the tokens of a whole answer.
    pub logprobs: bool,
}

impl Validate for GenerateRequest {
    type Valid = GenerateOrder;

    fn validate(self, limits: &Limits) -> Result<GenerateOrder, ApiError> {
        let messages = conversation(self.inputs, self.messages, limits)?;
        let mut parameters = self.parameters.unwrap_or_default();
        let wish = match parameters.merged_adapters.take() {
            None => wish(self.user.as_deref(), self.preference, self.merge)?,
            Some(_) if self.preference.is_some() || self.merge.is_some() || self.user.is_some() => {
                let detail = "send either parameters.merged_adapters or preference, merge and user, not both";
                return Err(ApiError::invalid("invalid_field", "parameters.merged_adapters", detail));
            }
            Some(adapters) => {
                let (preference, merge) = adapters.translate()?;
                Wish::Inline { preference, merge }
            }
        };
        let logprobs = parameters.logprobs.unwrap_or(false);
        let sampling = parameters.sampling("parameters.", limits)?;
        Ok(GenerateOrder {
            order: Order { messages, wish, sampling, explain: self.explain },
            stream: self.stream,
            logprobs,
        })
    }
}

/// The preference named in a request, or the user whose profile has it, but not both.
pub(super) fn wish(
    user: Option<&str>,
    preference: Option<Preference>,
    merge: Option<MergeOptions>,
) -> Result<Wish, ApiError> {
    match (user, preference) {
        (None, preference) => {
            Ok(Wish::Inline { preference: preference.unwrap_or_default(), merge: merge.unwrap_or_default() })
        }
        (Some(_), Some(_)) => {
            Err(ApiError::invalid("invalid_field", "user", "send either user or preference, not both"))
        }
        (Some(user), None) => Ok(Wish::Profile { user: UserId::new(user).ok_or_else(invalid_user)?, merge }),
    }
}

/// `inputs` as one message of a user, or `messages`.
pub(super) fn conversation(
    inputs: Option<String>,
    messages: Option<Vec<ChatMessage>>,
    limits: &Limits,
) -> Result<Vec<Message>, ApiError> {
    match (inputs, messages) {
        (Some(text), None) if !text.is_empty() => Ok(vec![Message { role: "user".into(), content: text }]),
        (Some(_), None) => Err(ApiError::invalid("invalid_field", "inputs", "inputs must not be empty")),
        (None, Some(messages)) => checked(messages, limits),
        _ => Err(ApiError::invalid("invalid_field", "inputs", "send either inputs or messages, one of the two")),
    }
}

/// The count and the roles of a conversation.
pub(super) fn checked(messages: Vec<ChatMessage>, limits: &Limits) -> Result<Vec<Message>, ApiError> {
    if messages.is_empty() || messages.len() > limits.max_messages {
        let detail = format!("a conversation has 1 to {} messages", limits.max_messages);
        return Err(ApiError::invalid("invalid_field", "messages", detail));
    }
    let known = |(i, m): (usize, ChatMessage)| match m.role.as_str() {
        "system" | "user" | "assistant" => Ok(Message { role: m.role, content: m.content }),
        _ => {
            let detail = "role is one of system, user, assistant";
            Err(ApiError::invalid("invalid_field", &format!("messages[{i}].role"), detail))
        }
    };
    messages.into_iter().enumerate().map(known).collect()
}
