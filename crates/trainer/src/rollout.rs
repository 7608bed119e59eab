//! One step's responses with everything PPO needs to know of them.

use candle_core::{Result, bail};

use crate::model::{Base, Delta, Response};
use crate::ops::to_vec;
use crate::prompts::Prompt;
use crate::reward::{Answer, Reward, Scored, Scoring};
use crate::sequence::score;

/// A scored response.
pub(crate) struct Sample {
    pub(crate) prompt: Prompt,
    pub(crate) response: Response,
    pub(crate) text: String,
    /// Log-probability of each token under the base.
    pub(crate) ref_log_probs: Vec<f64>,
    pub(crate) scored: Scored,
}

impl Sample {
    pub(crate) fn log_probs(&self) -> Vec<f64> {
        self.response.log_probs.iter().map(|&log_prob| f64::from(log_prob)).collect()
    }

    /// `sum_t log p - log p_ref` over the response, in nats: an estimate of the KL to the base.
    pub(crate) fn kl(&self) -> f64 {
        self.log_probs().iter().zip(&self.ref_log_probs).map(|(log_prob, reference)| log_prob - reference).sum()
    }

    /// Mean negative log-likelihood per token under the base.
    pub(crate) fn base_nll(&self) -> f64 {
        base_nll(&self.ref_log_probs)
    }
}

pub(crate) fn base_nll(ref_log_probs: &[f64]) -> f64 {
    -ref_log_probs.iter().sum::<f64>() / ref_log_probs.len().max(1) as f64
}

/// Scores responses under the base, in one forward, and by the reward.
pub(crate) fn judge(
    base: &Base,
    reward: &dyn Reward,
    decode: impl Fn(&[u32]) -> String,
    prompts: Vec<Prompt>,
    responses: Vec<Response>,
) -> Result<Vec<Sample>> {
    let pairs: Vec<_> =
        prompts.iter().zip(&responses).map(|(p, r)| (p.tokens.as_slice(), r.tokens.as_slice())).collect();
    let flat: Vec<f64> = to_vec(&score(base, None::<&Delta>, &pairs)?.log_probs)?.into_iter().map(f64::from).collect();
    let texts: Vec<String> = responses.iter().map(|response| decode(&response.tokens)).collect();
    let mut rest = flat.as_slice();
    let mut rows = Vec::with_capacity(prompts.len());
    let mut own = Vec::with_capacity(prompts.len());
    for ((prompt, response), text) in prompts.iter().zip(&responses).zip(&texts) {
        let (log_probs, others) = rest.split_at(response.tokens.len());
        rest = others;
        own.push(log_probs.to_vec());
        let answer = Answer { prompt: &prompt.text, text, ended: response.ended, base_nll: base_nll(log_probs) };
        rows.push(Scoring { answer, prompt: &prompt.tokens, response: &response.tokens });
    }
    let scored = reward.score_all(base, &rows)?;
    if scored.len() != rows.len() {
        bail!("the reward scored {} of {} answers", scored.len(), rows.len());
    }
    let all = prompts.into_iter().zip(responses).zip(texts).zip(own).zip(scored);
    let sample = |((((prompt, response), text), ref_log_probs), scored)| Sample {
        prompt,
        response,
        text,
        ref_log_probs,
        scored,
    };
    Ok(all.map(sample).collect())
}
