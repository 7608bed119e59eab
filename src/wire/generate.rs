//! The body of `POST /generate`.

use serde::{Deserialize, Serialize};
use tureen_engine::Message;
use tureen_soup::{MergeOptions, Preference};
use utoipa::ToSchema;

use super::merge::{MergeOptionsSchema, PreferenceSchema};
use super::parameters::Parameters;
use crate::config::Limits;
use crate::extract::Validate;
use crate::order::Order;
use crate::problem::ApiError;

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
    /// Use the preference of this user's profile. Not in this version: refused with `not_supported`.
    pub user: Option<String>,
    /// How policies are mixed.
    #[schema(value_type = Option<MergeOptionsSchema>)]
    pub merge: Option<MergeOptions>,
    /// How tokens are chosen.
    pub parameters: Option<Parameters>,
    /// Answer with an event stream.
    #[serde(default)]
    pub stream: bool,
    /// Tell which policy wanted each token. Not in this version: refused with `not_supported`.
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
        if self.user.is_some() {
            return Err(ApiError::not_supported("user", "profiles are not in this version; send `preference`"));
        }
        if self.explain {
            return Err(ApiError::not_supported("explain", "explain is not in this version; send false"));
        }
        let messages = conversation(self.inputs, self.messages, limits)?;
        let mut parameters = self.parameters.unwrap_or_default();
        let (preference, merge) = match parameters.merged_adapters.take() {
            None => (self.preference.unwrap_or_default(), self.merge.unwrap_or_default()),
            Some(_) if self.preference.is_some() || self.merge.is_some() => {
                let detail = "send either parameters.merged_adapters or preference and merge, not both";
                return Err(ApiError::invalid("invalid_field", "parameters.merged_adapters", detail));
            }
            Some(adapters) => adapters.translate()?,
        };
        let logprobs = parameters.logprobs.unwrap_or(false);
        let sampling = parameters.sampling("parameters.", limits)?;
        Ok(GenerateOrder { order: Order { messages, preference, merge, sampling }, stream: self.stream, logprobs })
    }
}

fn conversation(
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
