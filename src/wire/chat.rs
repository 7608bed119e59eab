//! The body of `POST /v1/chat/completions`. Unknown fields are ignored, as clients of that interface send many; known
//! ones that would change the answer and cannot be honoured are refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tureen_soup::{MergeOptions, Preference, PreferenceError};
use utoipa::ToSchema;

use super::generate::{ChatMessage, checked, wish};
use super::merge::{MergeOptionsSchema, PreferenceSchema};
use super::parameters::Parameters;
use crate::config::Limits;
use crate::extract::Validate;
use crate::order::{Order, Wish};
use crate::problem::ApiError;

/// A chat completion in OpenAI's shape, with `preference` and `merge` added.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({
    "model": "soup:concise=0.6,friendly=0.4",
    "messages": [{"role": "user", "content": "Why is the sky blue?"}]
}))]
pub struct ChatRequest {
    /// The base's name, `soup:NAME=WEIGHT,...`, or `profile:USER` for a user's profile. See `GET /v1/models`.
    pub model: Option<String>,
    /// The conversation.
    pub messages: Vec<OpenAiMessage>,
    /// Weighted policies; left out or `{}` is the base.
    #[schema(value_type = Option<PreferenceSchema>)]
    pub preference: Option<Preference>,
    /// How policies are mixed.
    #[schema(value_type = Option<MergeOptionsSchema>)]
    pub merge: Option<MergeOptions>,
    /// Use the preference of this user's profile, and its `merge` unless there is one here.
    pub user: Option<String>,
    /// Answer with an event stream that ends with `[DONE]`.
    pub stream: Option<bool>,
    /// `include_usage` adds a chunk with the token counts.
    pub stream_options: Option<StreamOptions>,
    /// Most tokens to generate.
    pub max_tokens: Option<usize>,
    /// The newer name of `max_tokens`; it wins.
    pub max_completion_tokens: Option<usize>,
    /// 0 always takes the likeliest token; 1 when left out.
    pub temperature: Option<f64>,
    /// Choose among the likeliest tokens that together have this probability.
    pub top_p: Option<f64>,
    /// The same seed gives the same answer.
    pub seed: Option<u64>,
    /// One sequence or a list; the answer ends before any of them.
    pub stop: Option<Stop>,
    /// Token ids (as strings) with a number from -100 to 100.
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// Tell each token's log-probability.
    pub logprobs: Option<bool>,
    /// Alternatives for each token: only 0 is supported.
    pub top_logprobs: Option<u32>,
    /// Answers: only 1 is supported.
    pub n: Option<u32>,
    /// Not supported: refused unless empty.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Vec<Value>>,
    /// Only `{"type":"text"}` is supported.
    pub response_format: Option<ResponseFormat>,
    /// Only 0 is supported.
    pub presence_penalty: Option<f64>,
    /// Only 0 is supported.
    pub frequency_penalty: Option<f64>,
}

/// One message in OpenAI's shape.
#[derive(Debug, Deserialize, ToSchema)]
pub struct OpenAiMessage {
    /// `system`, `developer`, `user` or `assistant`.
    pub role: String,
    /// Text, or a list of text parts.
    pub content: Option<Content>,
}

/// Text, or a list of parts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Parts, all of type `text`.
    Parts(Vec<Part>),
}

/// One part of a message.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Part {
    /// Only `text` is supported.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    pub text: Option<String>,
}

/// One stop sequence or several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Stop {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// Options of a stream.
#[derive(Debug, Deserialize, ToSchema)]
pub struct StreamOptions {
    /// Add a chunk with the token counts before `[DONE]`.
    pub include_usage: Option<bool>,
}

/// The format of the answer.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ResponseFormat {
    /// Only `text` is supported.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A checked [`ChatRequest`].
#[derive(Debug)]
pub struct ChatOrder {
    /// What to generate.
    pub order: Order,
    /// The name the answer carries; checked against the served names by the route.
    pub model: Option<String>,
    /// Answer with an event stream.
    pub stream: bool,
    /// End the stream with the token counts.
    pub include_usage: bool,
    /// Tell log-probabilities.
    pub logprobs: bool,
}

impl Validate for ChatRequest {
    type Valid = ChatOrder;

    fn validate(self, limits: &Limits) -> Result<ChatOrder, ApiError> {
        self.refuse_what_is_not_supported()?;
        let wish = wished(self.model.as_deref(), self.user, self.preference, self.merge)?;
        let messages = self.messages.into_iter().enumerate().map(plain).collect::<Result<_, _>>()?;
        let parameters = Parameters {
            max_new_tokens: self.max_completion_tokens.or(self.max_tokens),
            temperature: Some(self.temperature.unwrap_or(1.0)),
            top_p: self.top_p,
            seed: self.seed,
            stop: self.stop.map(|stop| match stop {
                Stop::One(one) => vec![one],
                Stop::Many(many) => many,
            }),
            logit_bias: self.logit_bias,
            ..Parameters::default()
        };
        Ok(ChatOrder {
            order: Order {
                messages: checked(messages, limits)?,
                wish,
                sampling: parameters.sampling("", limits)?,
                explain: false,
            },
            model: self.model,
            stream: self.stream.unwrap_or(false),
            include_usage: self.stream_options.and_then(|o| o.include_usage).unwrap_or(false),
            logprobs: self.logprobs.unwrap_or(false),
        })
    }
}

impl ChatRequest {
    fn refuse_what_is_not_supported(&self) -> Result<(), ApiError> {
        let format = self.response_format.as_ref();
        let penalty = |p: Option<f64>| p.is_some_and(|p| p != 0.0);
        let wants = [
            ("n", self.n.is_some_and(|n| n != 1), "only one answer per request: n must be 1"),
            ("tools", self.tools.as_ref().is_some_and(|t| !t.is_empty()), "tools are not supported"),
            ("response_format", format.is_some_and(|f| f.kind != "text"), "only {\"type\":\"text\"} is supported"),
            ("top_logprobs", self.top_logprobs.is_some_and(|n| n > 0), "alternatives are not supported: send 0"),
            ("presence_penalty", penalty(self.presence_penalty), "only 0 is supported"),
            ("frequency_penalty", penalty(self.frequency_penalty), "only 0 is supported"),
        ];
        match wants.into_iter().find(|(_, wanted, _)| *wanted) {
            Some((field, _, detail)) => Err(ApiError::not_supported(field, detail)),
            None => Ok(()),
        }
    }
}

/// The preference in `model: "soup:..."`, in the profile that `model: "profile:..."` or `user` names, or in the field of
/// its own, but only one of them.
fn wished(
    model: Option<&str>,
    user: Option<String>,
    field: Option<Preference>,
    merge: Option<MergeOptions>,
) -> Result<Wish, ApiError> {
    let model = model.unwrap_or_default();
    let (named, preference) = match (model.strip_prefix("soup:"), model.strip_prefix("profile:")) {
        (Some(text), _) => {
            let refused = |e: PreferenceError| ApiError::invalid("invalid_preference", "model", e.to_string());
            (None, Some(text.parse().map_err(refused)?))
        }
        (None, Some(user)) => (Some(user), None),
        (None, None) => return wish(user.as_deref(), field, merge),
    };
    if field.is_some() || user.is_some() {
        let detail = "send a preference, a user, or a model soup:... or profile:..., one of them";
        return Err(ApiError::invalid("invalid_field", "model", detail));
    }
    wish(named, preference, merge)
}

/// A message in our own words; `i` is its place in the list.
pub(crate) fn plain((i, message): (usize, OpenAiMessage)) -> Result<ChatMessage, ApiError> {
    let field = format!("messages[{i}].content");
    let content = match message.content {
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => {
            let text = |part: Part| match part {
                Part { kind, text: Some(text) } if kind == "text" => Ok(text),
                _ => Err(ApiError::not_supported(&field, "only parts of type text are supported")),
            };
            parts.into_iter().map(text).collect::<Result<String, _>>()?
        }
        None => return Err(ApiError::invalid("invalid_field", &field, "content is missing")),
    };
    // OpenAI's newer word for the same role.
    let role = if message.role == "developer" { "system".into() } else { message.role };
    Ok(ChatMessage { role, content })
}
