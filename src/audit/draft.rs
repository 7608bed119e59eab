//! From what a request became to its record.

use serde_json::json;
use tureen_engine::{Message, SamplingParams, SoupPath};
use tureen_soup::rules::Ruled;
use tureen_soup::{MergeOptions, Pool, Preference, PreferenceError, Soup};

use super::{AnswerRecord, EngineRecord, GenerationRecord, GuardRecord, ParametersRecord, RefusalRecord, SoupRecord};
use crate::app::App;
use crate::guard::Decision;
use crate::wire::answer::path_name;

/// A request whose generation began.
pub(crate) struct Begun<'a> {
    pub(crate) app: &'a App,
    pub(crate) pool: &'a Pool,
    pub(crate) ruled: &'a Ruled,
    pub(crate) path: SoupPath,
    pub(crate) prompt_tokens: usize,
    pub(crate) parameters: ParametersRecord,
}

impl Begun<'_> {
    /// Its record before the answer, from what was `decided` about it.
    pub(super) fn record(self, decided: RefusalRecord) -> GenerationRecord {
        let Self { app, pool, ruled, path, prompt_tokens, parameters } = self;
        let RefusalRecord { request, key, user, revision, asked, rules, guard, code: _, review: _ } = decided;
        GenerationRecord {
            request,
            key,
            user,
            revision,
            soup: SoupRecord::new(pool, &ruled.soup),
            asked: (!ruled.breaches.is_empty()).then_some(asked),
            rules,
            path: path_name(path).to_owned(),
            parameters,
            engine: EngineRecord::of(app.engine.isa(), app.engine.precision()),
            prompt_tokens,
            prompt_fingerprint: String::new(),
            answer: AnswerRecord::default(),
            guard,
            prompt: None,
            text: None,
        }
    }
}

impl From<&Decision> for GuardRecord {
    fn from(Decision { check, side, action, count }: &Decision) -> Self {
        let (check, side, action) = (check.to_string(), side.name().to_owned(), (*action).to_owned());
        Self { check, side, action, count: *count }
    }
}

impl EngineRecord {
    pub(crate) fn of(isa: &str, precision: impl std::fmt::Display) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { isa: isa.to_owned(), precision: precision.to_string(), version }
    }
}

impl SoupRecord {
    pub(super) fn new(pool: &Pool, soup: &Soup) -> Self {
        let named = pool.policies().iter().zip(soup.weights()).filter(|(_, weight)| **weight > 0.0);
        let pairs = named.map(|(policy, weight)| (policy.id().to_string(), *weight));
        let weights = Preference::from_pairs(pairs).expect("a soup's weights are finite and its policies differ");
        Self {
            id: soup.id().to_string(),
            weights: weights.to_string(),
            method: soup.method().to_string(),
            strength: format!("{:?}", soup.strength()),
            normalize: soup.options().normalize,
            density: format!("{:?}", soup.density()),
            seed: soup.seed(),
        }
    }

    /// The same soup of `pool`; `None` when the record names no soup at all.
    ///
    /// # Errors
    /// As [`Pool::restore`].
    pub(crate) fn restore(&self, pool: &Pool) -> Option<Result<Soup, PreferenceError>> {
        let options = MergeOptions {
            method: self.method.parse().ok()?,
            normalize: self.normalize,
            strength: self.strength.parse().ok()?,
            density: self.density.parse().ok()?,
            seed: self.seed,
            ..MergeOptions::default()
        };
        Some(pool.restore(&self.weights.parse().ok()?, &options))
    }
}

impl From<&SamplingParams> for ParametersRecord {
    fn from(params: &SamplingParams) -> Self {
        Self {
            max_new_tokens: params.max_new_tokens,
            temperature: params.temperature,
            top_p: params.top_p,
            top_k: params.top_k,
            min_p: params.min_p,
            repetition_penalty: params.repetition_penalty,
            seed: params.seed,
            stop_sequences: params.stop.len(),
            ignore_eos: params.ignore_eos,
            logit_bias: params.logit_bias.clone(),
        }
    }
}

impl ParametersRecord {
    /// Parameters that give the first `tokens` tokens again. What a stop sequence ended, ends there by its length.
    pub(crate) fn again(&self, tokens: usize) -> SamplingParams {
        SamplingParams {
            max_new_tokens: tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
            stop: Vec::new(),
            ignore_eos: self.ignore_eos,
            logit_bias: self.logit_bias.clone(),
        }
    }
}

/// A conversation in the one form that is hashed.
pub(crate) fn prompt_text(messages: &[Message]) -> String {
    json!(messages.iter().map(|m| [&m.role, &m.content]).collect::<Vec<_>>()).to_string()
}
