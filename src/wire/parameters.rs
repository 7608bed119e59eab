//! Sampling parameters: ranges are checked here, once for every route.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

use super::lorax::MergedAdapters;
use crate::config::Limits;
use crate::order::Sampling;
use crate::problem::ApiError;

const LONGEST_STOP_BYTES: usize = 256;

/// How tokens are chosen.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Most tokens to generate; the default is `limits.default_new_tokens`, or what the context still holds.
    #[schema(minimum = 1)]
    pub max_new_tokens: Option<usize>,
    /// 0 (the default) always takes the likeliest token; at most 2.
    #[schema(minimum = 0.0, maximum = 2.0)]
    pub temperature: Option<f64>,
    /// Choose among the likeliest tokens that together have this probability; above 0, at most 1.
    #[schema(exclusive_minimum = 0.0, maximum = 1.0)]
    pub top_p: Option<f64>,
    /// Choose among this many of the likeliest tokens; 0 is all.
    pub top_k: Option<usize>,
    /// Leave out tokens less likely than this share of the likeliest one's probability.
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub min_p: Option<f64>,
    /// Above 1 makes tokens that were there before less likely; above 0, at most 10.
    #[schema(exclusive_minimum = 0.0, maximum = 10.0)]
    pub repetition_penalty: Option<f64>,
    /// The same seed gives the same answer; a fresh one is used and told when left out.
    pub seed: Option<u64>,
    /// The answer ends before any of these.
    pub stop: Option<Vec<String>>,
    /// Go on after the end-of-sequence token.
    pub ignore_eos: Option<bool>,
    /// Add `details.tokens` to an answer that is not streamed. A stream always has them.
    pub logprobs: Option<bool>,
    /// Token ids (as strings) with a number from -100 to 100 that is added to their logits.
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// The LoRAX way to name a preference.
    pub merged_adapters: Option<MergedAdapters>,
}

impl Parameters {
    /// Checks the ranges; `prefix` is where the fields are in the request.
    pub(super) fn sampling(self, prefix: &str, limits: &Limits) -> Result<Sampling, ApiError> {
        let check = Check { prefix };
        Ok(Sampling {
            max_new_tokens: check.new_tokens(self.max_new_tokens, limits)?,
            temperature: check.within("temperature", self.temperature.unwrap_or(0.0), 0.0, 2.0)?,
            top_p: check.above_zero("top_p", self.top_p.unwrap_or(1.0), 1.0)?,
            top_k: self.top_k.unwrap_or(0),
            min_p: check.within("min_p", self.min_p.unwrap_or(0.0), 0.0, 1.0)?,
            repetition_penalty: check.above_zero("repetition_penalty", self.repetition_penalty.unwrap_or(1.0), 10.0)?,
            seed: self.seed,
            stop: check.stop(self.stop.unwrap_or_default(), limits)?,
            ignore_eos: self.ignore_eos.unwrap_or(false),
            logit_bias: check.logit_bias(self.logit_bias.unwrap_or_default(), limits)?,
        })
    }
}

/// Range checks that name the field.
struct Check<'a> {
    prefix: &'a str,
}

impl Check<'_> {
    fn refuse(&self, name: &str, rule: impl std::fmt::Display) -> ApiError {
        ApiError::invalid("invalid_field", &format!("{}{name}", self.prefix), format!("{name} {rule}"))
    }

    fn within(&self, name: &str, value: f64, least: f64, most: f64) -> Result<f32, ApiError> {
        if (least..=most).contains(&value) {
            return Ok(value as f32);
        }
        Err(self.refuse(name, format_args!("must be from {least} to {most}, got {value}")))
    }

    fn above_zero(&self, name: &str, value: f64, most: f64) -> Result<f32, ApiError> {
        // A positive f64 may still round to 0 as f32.
        if value <= most && value as f32 > 0.0 {
            return Ok(value as f32);
        }
        Err(self.refuse(name, format_args!("must be above 0 and at most {most}, got {value}")))
    }

    fn new_tokens(&self, wanted: Option<usize>, limits: &Limits) -> Result<Option<usize>, ApiError> {
        let most = limits.max_new_tokens;
        match wanted {
            Some(n) if n == 0 || n > most => {
                Err(self.refuse("max_new_tokens", format_args!("must be from 1 to {most}, got {n}")))
            }
            other => Ok(other),
        }
    }

    fn stop(&self, stop: Vec<String>, limits: &Limits) -> Result<Vec<String>, ApiError> {
        if stop.len() > limits.max_stop_sequences {
            return Err(self.refuse("stop", format_args!("may hold at most {} sequences", limits.max_stop_sequences)));
        }
        if stop.iter().any(|s| s.is_empty() || s.len() > LONGEST_STOP_BYTES) {
            return Err(self.refuse("stop", format_args!("sequences have 1 to {LONGEST_STOP_BYTES} bytes")));
        }
        Ok(stop)
    }

    fn logit_bias(&self, bias: BTreeMap<String, f64>, limits: &Limits) -> Result<Vec<(u32, f32)>, ApiError> {
        if bias.len() > limits.max_logit_bias {
            return Err(self.refuse("logit_bias", format_args!("may hold at most {} entries", limits.max_logit_bias)));
        }
        let entry = |(id, value): (String, f64)| {
            let token: u32 =
                id.parse().map_err(|_| self.refuse("logit_bias", format_args!("keys are token ids, got {id:?}")))?;
            Ok((token, self.within("logit_bias", value, -100.0, 100.0)?))
        };
        bias.into_iter().map(entry).collect()
    }
}
