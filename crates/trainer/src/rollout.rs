//! One step's responses with everything PPO needs to know of them.

use candle_core::{Result, bail};

use crate::generator::Response;
use crate::model::{Base, Delta};
use crate::ops::to_vec;
use crate::prompts::Prompt;
use crate::reward::{Answer, Reward, Scored, Scoring};
use crate::sequence::score;

/// A response and what it answers.
pub(crate) struct Answered {
    pub(crate) prompt: Prompt,
    /// The tokens that were answered: the prompt's, or those of the prompt with instructions.
    pub(crate) asked: Vec<u32>,
    /// The preferences that the instructions ask for.
    pub(crate) active: Vec<usize>,
    pub(crate) response: Response,
}

/// A scored response.
pub(crate) struct Sample {
    pub(crate) prompt: Prompt,
    pub(crate) asked: Vec<u32>,
    active: Vec<usize>,
    pub(crate) response: Response,
    pub(crate) text: String,
    /// Log-probability of each token under the policy, by the trainer's own forward: the engine's differ in rounding.
    pub(crate) log_probs: Vec<f64>,
    /// The final hidden states that the tokens are predicted from, tokens x hidden.
    pub(crate) hidden: Vec<f32>,
    /// Log-probability of each token under the base.
    pub(crate) ref_log_probs: Vec<f64>,
    pub(crate) scored: Scored,
}

impl Sample {
    /// `sum_t log p - log p_ref` over the response, in nats: an estimate of the KL to the base.
    pub(crate) fn kl(&self) -> f64 {
        self.log_probs.iter().zip(&self.ref_log_probs).map(|(log_prob, reference)| log_prob - reference).sum()
    }

    /// Mean negative log-likelihood per token under the base.
    pub(crate) fn base_nll(&self) -> f64 {
        base_nll(&self.ref_log_probs)
    }

    /// Largest difference between the engine's log-probability of a token and the trainer's own, in nats.
    pub(crate) fn engine_deviation(&self) -> f64 {
        let apart = self.response.log_probs.iter().zip(&self.log_probs);
        apart.map(|(&engine, own)| (f64::from(engine) - own).abs()).fold(0.0, f64::max)
    }
}

pub(crate) fn base_nll(ref_log_probs: &[f64]) -> f64 {
    -ref_log_probs.iter().sum::<f64>() / ref_log_probs.len().max(1) as f64
}

/// Scores responses under base + `delta` and under the base, in one forward each, and by the reward.
pub(crate) fn judge(
    base: &Base,
    delta: &Delta,
    reward: &dyn Reward,
    decode: impl Fn(&[u32]) -> String,
    answered: Vec<Answered>,
) -> Result<Vec<Sample>> {
    let pairs: Vec<_> = answered.iter().map(|a| (a.asked.as_slice(), a.response.tokens.as_slice())).collect();
    let policy = score(base, Some(delta), &pairs)?;
    let (own, hidden) = (to_vec(&policy.log_probs)?, to_vec(&policy.hidden)?);
    let reference = to_vec(&score(base, None, &pairs)?.log_probs)?;
    let width = base.geometry().hidden;
    let mut samples = Vec::with_capacity(answered.len());
    let mut start = 0;
    for Answered { prompt, asked, active, response } in answered {
        let tokens = start..start + response.tokens.len();
        start = tokens.end;
        let wide = |values: &[f32]| values[tokens.clone()].iter().copied().map(f64::from).collect();
        samples.push(Sample {
            text: decode(&response.tokens),
            log_probs: wide(&own),
            ref_log_probs: wide(&reference),
            hidden: hidden[tokens.start * width..tokens.end * width].to_vec(),
            prompt,
            asked,
            active,
            response,
            scored: Scored { score: 0.0, measure: 0.0, gate: 0.0 },
        });
    }
    let rows: Vec<Scoring<'_>> = samples.iter().map(scoring).collect();
    let scored = reward.score_all(base, &rows)?;
    if scored.len() != samples.len() {
        bail!("the reward scored {} of {} answers", scored.len(), samples.len());
    }
    samples.iter_mut().zip(scored).for_each(|(sample, scored)| sample.scored = scored);
    Ok(samples)
}

fn scoring(sample: &Sample) -> Scoring<'_> {
    let Sample { prompt, active, response, text, .. } = sample;
    let answer = Answer { prompt: &prompt.text, text, ended: response.ended, base_nll: sample.base_nll() };
    // Without instructions: what is scored is the response.
    Scoring { answer, prompt: &prompt.tokens, response: &response.tokens, active }
}
