//! What `/generate` answers.

use std::collections::BTreeMap;

use serde::Serialize;
use tureen_engine::{FinishReason, SoupPath};
use tureen_soup::rules::Breach;
use tureen_soup::{Pool, Soup};
use utoipa::ToSchema;

use super::explanation::Explanation;
use super::review::ReviewLink;
use crate::live::Reason;

/// A whole answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct GenerateResponse {
    /// The text, without the prompt.
    pub generated_text: String,
    /// How it came to be.
    pub details: Details,
    /// Which parameters served it.
    pub soup: SoupView,
    /// The id of this request, as in `x-request-id`.
    pub request_id: String,
    /// Which policy wanted it, when `explain` was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
    /// The review of an answer that is held; then there is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewLink>,
}

/// How an answer came to be.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Details {
    /// `length`, `eos_token`, `stop_sequence`, `content_filter` when a check of the server ended it, or `held` when a
    /// person has to decide about it.
    #[schema(value_type = String, example = "eos_token")]
    pub finish_reason: &'static str,
    /// Tokens of the prompt, chat template included.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub generated_tokens: usize,
    /// The seed that was used: send it again for the same answer.
    pub seed: u64,
    /// Every token, when `parameters.logprobs` was set and the answer is not streamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<Token>>,
}

/// One generated token.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Token {
    /// Its id; null for text that is not the text of tokens: the rest that the last event may carry, and what checks of
    /// the server redacted.
    pub id: Option<u32>,
    /// The text that became certain with it; may be empty. The texts of all events make up the answer.
    pub text: String,
    /// Natural logarithm of its probability.
    pub logprob: Option<f32>,
}

/// The soup that served an answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SoupView {
    /// Hash over revision, method and effective weights.
    pub id: String,
    /// Merge method.
    pub method: String,
    /// Effective weights, after normalisation; policies at zero are left out.
    pub weights: BTreeMap<String, f64>,
    /// Scale of the whole change.
    pub strength: f64,
    /// Revision of the pool.
    pub revision: String,
    /// `gate` or `materialised`.
    #[schema(value_type = String, example = "gate")]
    pub path: &'static str,
    /// How far it moves from the base: strength · sqrt(wᵀ G w), the norm of its change (of `exact` and `linear`; of other
    /// methods that of the `exact` soup with its weights).
    #[schema(value_type = f64)]
    pub drift: f64,
    /// What was asked for, when rules do not allow it and this is served instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedView>,
    /// The rules that what was asked for does not keep.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleView>,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AskedView {
    /// Weights after normalisation; policies at zero are left out.
    pub weights: BTreeMap<String, f64>,
    /// Scale of the whole change.
    pub strength: f64,
}

/// A rule that what was asked for does not keep.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RuleView {
    /// Which kind of rule: stable, for programs.
    #[schema(value_type = String, example = "weight_above_rule")]
    pub code: &'static str,
    /// What was asked for and what is allowed, for people.
    pub detail: String,
}

/// One event of a stream. The last one also has `generated_text`, `details` and `soup`.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct StreamEvent {
    /// Counts from 0.
    pub index: usize,
    /// What is new.
    pub token: Token,
    /// The whole text; in the last event alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_text: Option<String>,
    /// In the last event alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// In the last event alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soup: Option<SoupView>,
    /// In the last event alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// In the last event alone, when `explain` was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
    /// In the last event alone, when the answer is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewLink>,
}

impl SoupView {
    /// Shows `soup`, which was made from `pool` and is served on `path`.
    pub fn new(pool: &Pool, soup: &Soup, path: SoupPath) -> Self {
        Self {
            id: soup.id().to_string(),
            method: soup.method().to_string(),
            weights: weights(pool, soup),
            strength: soup.strength(),
            revision: soup.revision().to_string(),
            path: path_name(path),
            drift: pool.drift(soup),
            asked: None,
            rules: Vec::new(),
        }
    }

    /// Adds what was asked for, if rules changed it.
    pub fn asked(mut self, pool: &Pool, asked: &Soup, breaches: &[Breach]) -> Self {
        let view = || AskedView { weights: weights(pool, asked), strength: asked.strength() };
        self.asked = (!breaches.is_empty()).then(view);
        self.rules = breaches.iter().map(|b| RuleView { code: b.code(), detail: b.to_string() }).collect();
        self
    }
}

fn weights(pool: &Pool, soup: &Soup) -> BTreeMap<String, f64> {
    let named = pool.policies().iter().zip(soup.weights());
    named.filter(|(_, weight)| **weight != 0.0).map(|(policy, weight)| (policy.id().to_string(), *weight)).collect()
}

/// The word for a path.
pub fn path_name(path: SoupPath) -> &'static str {
    match path {
        SoupPath::Gate => "gate",
        SoupPath::Materialised => "materialised",
    }
}

impl Reason {
    /// The word for it on our own routes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Engine(FinishReason::Length) => "length",
            Self::Engine(FinishReason::EosToken) => "eos_token",
            Self::Engine(FinishReason::StopSequence) => "stop_sequence",
            Self::ContentFilter => "content_filter",
            Self::Held => "held",
        }
    }
}
