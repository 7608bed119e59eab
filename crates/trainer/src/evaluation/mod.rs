//! Soups against everything they are compared with, on prompts that nothing was trained on.

mod answers;
mod charts;
mod config;
mod cost;
mod curves;
mod html;
mod kept;
mod news;
mod pairwise;
mod plan;
mod poles;
mod statistics;
mod study;
mod trained;

use serde::{Deserialize, Serialize};

pub use config::{CostOptions, EvaluationConfig, EvaluationGeneration, EvaluationPrompts, MethodOptions};
pub use cost::{CostRow, costs};
pub use curves::{Curve, CurvePoint};
pub use html::page;
pub use news::{News, Tally};
pub use pairwise::Duel;
pub use statistics::{Estimate, bootstrap, clustered_bootstrap, spearman};
pub use study::evaluate;

/// Everything that was measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Evaluation {
    /// The base's name.
    pub base: String,
    /// The pool's revision.
    pub revision: String,
    /// What the prompts are called.
    pub prompt_set: String,
    /// How many there are.
    pub prompts: usize,
    /// Answers to each of them; left out for one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub answers_per_prompt: usize,
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
    /// One pole of each dimension, in all ways.
    pub combinations: Vec<Vec<String>>,
    /// Scores of each method under each combination.
    pub scores: Vec<MethodScores>,
    /// Each policy alone against the base, on its own preference.
    pub alone: Vec<Duel>,
    /// Each method against each, over all combinations first.
    pub pairwise: Vec<Duel>,
    /// Policies of two dimensions, mixed.
    pub control: Vec<Curve>,
    /// Opposite poles, mixed.
    pub conflict: Vec<Curve>,
    /// CPU-hours of one policy that the cost table is made for.
    pub hours_per_policy: Option<f64>,
    /// What more preferences cost.
    pub cost: Vec<CostRow>,
    /// Answers of every method to the first prompts, under the first combination.
    pub samples: Vec<Sample>,
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

/// A method's answers under one combination.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MethodScores {
    /// The method.
    pub method: String,
    /// The policies that were wished for.
    pub combination: Vec<String>,
    /// The measure of each of them.
    pub measures: Vec<PolicyScore>,
    /// Mean content gate, 0 to 1.
    pub gate: f64,
    /// Mean negative log-likelihood a token under the base, in nats: its exponential is the perplexity.
    pub base_nll: f64,
}

/// How much of one preference the answers show.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PolicyScore {
    /// The policy.
    pub policy: String,
    /// What was measured.
    pub measure: String,
    /// Whether more is better.
    pub higher: bool,
    /// Mean over the prompts, of each prompt's answers.
    pub score: Estimate,
}

/// Answers to one prompt.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Sample {
    /// The prompt.
    pub prompt: String,
    /// Method and answer.
    pub answers: Vec<(String, String)>,
}
