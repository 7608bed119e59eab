//! The annotator that asks a model behind an OpenAI-compatible endpoint.

mod client;
mod question;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::client::Client;
use super::{Annotator, Choice, Comparison};
use crate::error::TrainError;

/// The judge and how it is asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeOptions {
    /// Base of the API, such as `http://127.0.0.1:8000/v1`.
    pub endpoint: String,
    /// The model's name there. Not the one that is trained, nor one that evaluates it later.
    pub model: String,
    /// What the better answer does, in words: "is easier to understand for a child".
    pub criterion: String,
    /// The environment variable that holds the API key; none sends no key.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// Most requests a minute.
    #[serde(default = "sixty")]
    pub requests_per_minute: f64,
    /// How often a request that met a limit, a failing server or a broken connection is repeated.
    #[serde(default = "five")]
    pub retries: u32,
    /// Wait before the first repetition, in milliseconds; doubled each time, up to a minute. A `Retry-After` counts more.
    #[serde(default = "thousand")]
    pub retry_wait_ms: u64,
    /// How long an answer may take, in seconds.
    #[serde(default = "sixty")]
    pub timeout_s: f64,
    /// Seed of the order in which the two answers are shown.
    #[serde(default)]
    pub seed: u64,
    /// Price of a million tokens read, in a currency of your own.
    #[serde(default)]
    pub price_input: f64,
    /// Price of a million tokens written.
    #[serde(default)]
    pub price_output: f64,
}

fn sixty() -> f64 {
    60.0
}

fn five() -> u32 {
    5
}

fn thousand() -> u64 {
    1000
}

impl JudgeOptions {
    /// Names the first value that cannot be used.
    pub(crate) fn check(&self) -> Result<(), String> {
        let positive = [("requests_per_minute", self.requests_per_minute), ("timeout_s", self.timeout_s)];
        if let Some((name, _)) = positive.iter().find(|(_, value)| !(0.001..=1e6).contains(value)) {
            return Err(format!("judge.{name} must be from 0.001 to 1000000"));
        }
        let prices = [("price_input", self.price_input), ("price_output", self.price_output)];
        match prices.iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
            Some((name, _)) => Err(format!("judge.{name} must not be negative")),
            None => Ok(()),
        }
    }
}

/// Tokens that the judge read and wrote, and requests made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests, repeated ones included.
    pub requests: u64,
    /// Tokens read.
    pub input: u64,
    /// Tokens written.
    pub output: u64,
}

/// A judge.
pub struct Judge {
    options: JudgeOptions,
    client: Client,
}

impl Judge {
    /// Prepares a judge; nothing is sent yet.
    ///
    /// # Errors
    /// An endpoint that is no URL, or an environment variable that is named and not set.
    pub fn new(options: JudgeOptions) -> Result<Self, TrainError> {
        let client = Client::new(&options)?;
        Ok(Self { options, client })
    }

    /// What was used so far.
    pub fn usage(&self) -> Usage {
        self.client.usage
    }

    /// The price of what was used so far.
    pub fn cost(&self) -> f64 {
        let Usage { input, output, .. } = self.client.usage;
        (input as f64 * self.options.price_input + output as f64 * self.options.price_output) / 1e6
    }

    /// Whether the second answer is shown first: half of all comparisons, drawn from the seed and the two answers in no
    /// order, so that a resumed run shows the same, and a comparison the other way round shows the other order.
    fn shows_second_first(&self, comparison: Comparison<'_>) -> bool {
        let mut answers = comparison.answers;
        answers.sort_unstable();
        let key = Comparison { answers, ..comparison }.key();
        let digest = Sha256::digest(format!("{} {key}", self.options.seed));
        digest[0] & 1 == 1
    }
}

impl Annotator for Judge {
    /// An answer of the judge that names neither A, B nor a tie is asked for once more and is a tie then.
    fn compare(&mut self, comparison: Comparison<'_>) -> Result<Choice, TrainError> {
        let swap = self.shows_second_first(comparison);
        let [first, second] = comparison.answers;
        let shown = if swap { Comparison { answers: [second, first], ..comparison } } else { comparison };
        let body = question::body(&self.options.model, &self.options.criterion, shown);
        for _ in 0..2 {
            if let Some(choice) = question::choice(&self.client.ask(&body)?) {
                return Ok(if swap { choice.swapped() } else { choice });
            }
        }
        Ok(Choice::Tie)
    }
}
