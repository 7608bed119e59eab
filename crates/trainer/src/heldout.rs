//! Scores on prompts that are never trained on.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::generator::{Generator, Order, PooledSoup, Sampling, answer_seed};
use crate::model::Base;
use crate::ops::to_vec;
use crate::prompts::Prompt;
use crate::reward::{Answer, GateOptions, Rule, Text, flesch_kincaid_grade, friendliness};
use crate::rollout::base_nll;
use crate::sequence::score;

/// An answer to a held-out prompt.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct HeldoutAnswer {
    /// The prompt.
    pub prompt: String,
    /// The answer.
    pub answer: String,
}

/// Means over all held-out prompts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct HeldoutScores {
    /// Flesch-Kincaid grade.
    pub grade: f64,
    /// Friendliness, 0 to 3.
    pub friendliness: f64,
    /// Score of the elementary rule, 0 to 1.
    pub elementary_score: f64,
    /// Score of the friendly rule, 0 to 1.
    pub friendly_score: f64,
    /// The content gate of the elementary rule, 0 to 1.
    pub gate: f64,
    /// Negative log-likelihood per token under the base, in nats.
    pub base_nll: f64,
    /// KL to the base of the first [`HeldoutOptions::kl_tokens`] tokens of an answer, in nats.
    pub kl: f64,
    /// Words of an answer.
    pub words: f64,
    /// Answers that ended by themselves, 0 to 1.
    pub ended: f64,
    /// The measure of the policy's own rule, where it has one.
    pub own_measure: f64,
    /// Score of the policy's own rule, 0 to 1.
    pub own_score: f64,
    /// The answers themselves.
    pub answers: Vec<HeldoutAnswer>,
}

/// How held-out prompts are answered: sampled at temperature 1 with a fixed seed, the same for every policy.
#[derive(Clone, Debug)]
pub struct HeldoutOptions {
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
    /// Tokens whose KL is added up: the mean length of the training's responses makes the two comparable.
    pub kl_tokens: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// The gate that the rules use.
    pub gate: GateOptions,
    /// The policy's own rule, when it is not one that all are scored by.
    pub own: Option<Rule>,
}

/// Has `soup` answer `prompts` and scores the answers with every rule.
///
/// # Errors
/// Prompts longer than the model's tables, or an engine that fails.
pub fn evaluate(
    base: &Base,
    generator: &Generator,
    soup: &PooledSoup,
    prompts: &[Prompt],
    options: &HeldoutOptions,
) -> Result<HeldoutScores, TrainError> {
    let &HeldoutOptions { max_new_tokens, kl_tokens, seed, ref gate, own } = options;
    let order = |(row, prompt): (usize, &Prompt)| Order {
        prompt: prompt.tokens.clone(),
        soup: soup.clone(),
        sampling: Sampling::plain(max_new_tokens, answer_seed(&[seed, row as u64])),
    };
    let all = generator.answer(&prompts.iter().enumerate().map(order).collect::<Vec<_>>())?;
    let mut sums = [0.0; 11];
    let mut answers = Vec::with_capacity(prompts.len());
    for (prompts, responses) in prompts.chunks(16).zip(all.chunks(16)) {
        let pairs = prompts.iter().zip(responses).map(|(p, r)| (p.tokens.as_slice(), r.tokens.as_slice()));
        let pairs: Vec<_> = pairs.collect();
        let log_probs = widened(to_vec(&score(base, None, &pairs)?.log_probs)?);
        let mut rest = log_probs.as_slice();
        for (prompt, response) in prompts.iter().zip(responses) {
            let (reference, others) = rest.split_at(response.tokens.len());
            rest = others;
            let text = generator.checkpoint().tokenizer().decode(&response.tokens);
            let nll = base_nll(reference);
            let answer = Answer { prompt: &prompt.text, text: &text, ended: response.ended, base_nll: nll };
            let elementary = Rule::Elementary.score(answer, gate);
            let friendly = Rule::Friendly.score(answer, gate);
            let own = own.map(|rule| rule.score(answer, gate));
            let parts = Text::new(&text);
            // Like with like: in a coarser number format the base is further from itself than rounding.
            let base_log_probs: Vec<f64> = match generator.computing().is_exact() {
                true => reference.to_vec(),
                false => widened(generator.base_log_probs(&prompt.tokens, &response.tokens)?),
            };
            let apart = response.log_probs.iter().zip(&base_log_probs).take(kl_tokens);
            let values = [
                flesch_kincaid_grade(&parts),
                friendliness(&parts),
                elementary.score,
                friendly.score,
                elementary.gate,
                nll,
                apart.map(|(&log_prob, reference)| f64::from(log_prob) - reference).sum(),
                parts.words.len() as f64,
                f64::from(response.ended),
                own.map_or(0.0, |own| own.measure),
                own.map_or(0.0, |own| own.score),
            ];
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            answers.push(HeldoutAnswer { prompt: prompt.text.clone(), answer: text });
        }
    }
    let count = answers.len().max(1) as f64;
    let means = sums.map(|sum| sum / count);
    let [
        grade,
        friendliness,
        elementary_score,
        friendly_score,
        gate,
        base_nll,
        kl,
        words,
        ended,
        own_measure,
        own_score,
    ] = means;
    Ok(HeldoutScores {
        grade,
        friendliness,
        elementary_score,
        friendly_score,
        gate,
        base_nll,
        kl,
        words,
        ended,
        own_measure,
        own_score,
        answers,
    })
}

fn widened(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}
