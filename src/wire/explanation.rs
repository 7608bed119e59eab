//! Which policy wanted an answer, on the wire.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Which policy wanted an answer. Logarithms are natural.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Explanation {
    /// Which policies wanted it, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Log-probability of the whole answer under the soup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soup: Option<f64>,
    /// ... and under the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<f64>,
    /// ... and under each policy alone, at strength 1; the one that wanted it most comes first. Policies without factors
    /// (full weights) are left out.
    pub policies: Vec<Gain>,
    /// Token by token.
    pub tokens: Vec<TokenExplanation>,
    /// Why there is none: the answer stands, and there was no room or time to score it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "out_of_memory")]
    pub unavailable: Option<&'static str>,
}

/// How much a policy wanted the whole answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Gain {
    /// The policy.
    pub policy: String,
    /// Log-probability of the answer under it.
    pub logprob: f64,
    /// `logprob` less that of the base: above 0 it wants the answer more than the base does.
    pub gain: f64,
}

/// One token's log-probabilities.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenExplanation {
    /// Its id.
    pub id: u32,
    /// The text that became certain with it; may be empty.
    pub text: String,
    /// Under the soup that served it.
    pub soup: f32,
    /// Under the base.
    pub base: f32,
    /// Under each policy alone.
    pub policies: BTreeMap<String, f32>,
}

impl Explanation {
    /// From all numbers; `policies` in the order of their gain.
    pub fn new(tokens: Vec<TokenExplanation>, soup: f64, base: f64, policies: Vec<Gain>) -> Self {
        let wanted: Vec<_> = policies
            .iter()
            .filter(|policy| policy.gain > 0.0)
            .map(|policy| format!("{} (by a factor of e^{:.2})", policy.policy, policy.gain))
            .collect();
        let summary = match &wanted[..] {
            [] => "no policy wanted this answer more than the base does".to_owned(),
            all => format!("wanted more than the base does by {}", all.join(", ")),
        };
        Self { summary: Some(summary), soup: Some(soup), base: Some(base), policies, tokens, unavailable: None }
    }

    /// None, and why.
    pub fn unavailable(code: &'static str) -> Self {
        Self { unavailable: Some(code), ..Self::default() }
    }
}
