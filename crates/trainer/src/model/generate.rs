//! Sampling of responses for the rollouts and the held-out evaluation.

use std::sync::Arc;

use candle_core::{Result, Storage, Tensor, bail};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cache::Cache;
use super::{Base, Delta, Packing};
use crate::ops::{attention, log_sum_exp, to_vec};

/// One sampled response.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The sampled tokens; an end-of-sequence token, when it was sampled, is the last one.
    pub tokens: Vec<u32>,
    /// The log-probability of each token under the policy that sampled it, in nats.
    pub log_probs: Vec<f32>,
    /// The final hidden states that the tokens were sampled from, tokens x hidden.
    pub hidden: Vec<f32>,
    /// Whether an end-of-sequence token was sampled.
    pub ended: bool,
}

/// How responses are sampled: temperature 1, nothing cut off, so that the log-probabilities are those of the policy.
#[derive(Clone, Copy, Debug)]
pub struct Sampling<'a> {
    /// Longest response, in tokens.
    pub max_new_tokens: usize,
    /// Tokens that end a response.
    pub eos: &'a [u32],
    /// Seed of the draws; row i of the call draws from stream `stream + i`.
    pub seed: u64,
    /// The stream of the first row.
    pub stream: u64,
}

/// Samples one response for each of `prompts` under base + `delta`. All prompts share the first `prefix` tokens and have
/// at least one more.
///
/// # Errors
/// A prompt of no more than `prefix` tokens, or one that is longer than the model's tables.
pub fn generate(
    base: &Base,
    delta: Option<&Delta>,
    prompts: &[Vec<u32>],
    prefix: usize,
    sampling: Sampling<'_>,
) -> Result<Vec<Response>> {
    if prompts.is_empty() || prompts.iter().any(|prompt| prompt.len() <= prefix) {
        bail!("generation needs prompts of more than {prefix} tokens");
    }
    let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.len() - prefix).collect();
    let packing = Arc::new(Packing::new(prefix, &lengths));
    let mut tokens = prompts[0][..prefix].to_vec();
    prompts.iter().for_each(|prompt| tokens.extend_from_slice(&prompt[prefix..]));
    let mut cache = Cache::new(base, prompts.len());
    let hidden = base.forward(&tokens, delta, |layer, q, k, v| {
        cache.fill(base, layer, &packing, k, v)?;
        attention(q, k, v, &packing, base.rope())
    })?;
    let last: Vec<u32> =
        packing.starts().iter().zip(&lengths).map(|(start, length)| (start + length - 1) as u32).collect();
    let mut hidden = hidden.index_select(&Tensor::new(last.as_slice(), hidden.device())?, 0)?;

    let mut rngs: Vec<ChaCha8Rng> = (0..prompts.len() as u64).map(|row| stream(sampling, row)).collect();
    let mut responses = vec![Response::default(); prompts.len()];
    let mut active: Vec<usize> = (0..prompts.len()).collect();
    for step in 0..sampling.max_new_tokens {
        let logits = hidden.matmul(&base.head().t()?)?;
        let vocabulary = logits.dim(1)?;
        let states = to_vec(&hidden)?;
        let mut states = states.chunks_exact(base.geometry().hidden);
        let (storage, _) = logits.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { bail!("generation runs on the CPU") };
        let logits = storage.as_slice::<f32>()?;
        for (&row, logits) in active.iter().zip(logits.chunks_exact(vocabulary)) {
            let (token, log_prob) = draw(logits, rngs[row].random::<f32>());
            let response = &mut responses[row];
            response.hidden.extend_from_slice(states.next().unwrap_or_default());
            response.tokens.push(token);
            response.log_probs.push(log_prob);
            response.ended = sampling.eos.contains(&token);
        }
        active.retain(|&row| !responses[row].ended);
        if active.is_empty() || step + 1 == sampling.max_new_tokens {
            break;
        }
        let tokens: Vec<u32> = active.iter().map(|&row| responses[row].tokens[step]).collect();
        hidden = base.forward(&tokens, delta, |layer, q, k, v| cache.step(base, layer, &active, [q, k, v]))?;
    }
    Ok(responses)
}

fn stream(sampling: Sampling<'_>, row: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
    rng.set_stream(sampling.stream + row);
    rng
}

/// The token whose interval of the cumulative distribution holds `uniform`, with its log-probability.
fn draw(logits: &[f32], uniform: f32) -> (u32, f32) {
    let total = log_sum_exp(logits);
    let mut left = uniform;
    let mut chosen = 0;
    for (token, logit) in logits.iter().enumerate() {
        let p = (logit - total).exp();
        if p > 0.0 {
            chosen = token;
        }
        left -= p;
        if left < 0.0 {
            break;
        }
    }
    (chosen as u32, logits[chosen] - total)
}
