//! A beginning for preferences that the base hardly ever shows by itself: what never is sampled is never rewarded.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tureen_engine::{Checkpoint, Message, Precision};

use crate::error::TrainError;
use crate::generator::{Computing, Generator, Order, Response, Sampling, answer_seed};
use crate::imitation::Example;
use crate::model::Base;
use crate::prompts::{Prompt, chat_tokens};
use crate::reward::{Answer, Reward, Scoring};
use crate::reward_model::TrainingOptions;
use crate::rollout::base_nll;

/// Turns that the base is shown before a prompt, at most.
const SHOWN: usize = 4;

/// Before PPO begins, the base answers the run's prompts behind a few turns that show the preference, and the policy learns,
/// without seeing those turns, the best answer to each prompt: context distillation (Askell et al., arXiv 2112.00861) of
/// what the reward chooses (rejection sampling). The answers are the base's own, so they lie no further from it than need be.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WarmStart {
    /// Turns that show the preference; each answer is asked for behind four of them.
    pub turns: Vec<Turn>,
    /// Answers to each prompt.
    #[serde(default = "eight")]
    pub answers: usize,
    /// Divides their logits.
    #[serde(default = "four_fifths")]
    pub temperature: f32,
    /// Smallest probability that the likeliest tokens kept must reach.
    #[serde(default = "nine_tenths")]
    pub top_p: f32,
    /// Score from which the best answer to a prompt is learned.
    pub least: f64,
    /// How they are imitated.
    #[serde(default)]
    pub training: TrainingOptions,
}

/// What somebody asks, and how it is answered under the preference.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// The question.
    pub prompt: String,
    /// Its answer.
    pub answer: String,
}

fn eight() -> usize {
    8
}

fn four_fifths() -> f32 {
    0.8
}

fn nine_tenths() -> f32 {
    0.9
}

impl WarmStart {
    pub(crate) fn check(&self) -> Result<(), String> {
        self.training.check().map_err(|message| format!("warm_start: {message}"))?;
        let positive = |rate: f32| rate.is_finite() && rate > 0.0;
        if self.turns.is_empty() || self.answers == 0 || !positive(self.temperature) || !positive(self.top_p) {
            return Err("warm_start: turns, answers, temperature and top_p must be above 0".into());
        }
        if self.top_p > 1.0 || !self.least.is_finite() {
            return Err("warm_start: top_p must be at most 1, least a number".into());
        }
        Ok(())
    }

    /// Has the base answer `prompts` with at most `longest` tokens, and returns the best answer to each that is good enough,
    /// as an example to the prompt alone.
    ///
    /// # Errors
    /// A checkpoint without chat template, an engine or forward that fails, or no answer that is good enough.
    pub(crate) fn examples(
        &self,
        checkpoint: &Arc<Checkpoint>,
        base: &Base,
        reward: &dyn Reward,
        prompts: &[Prompt],
        longest: usize,
    ) -> Result<Vec<Example>, TrainError> {
        let asked: Result<Vec<_>, _> =
            (0..self.answers).map(|set| self.behind_turns(checkpoint, set, prompts)).collect();
        let asked = asked?;
        let context = asked.iter().flatten().map(Vec::len).max().unwrap_or_default() + longest;
        let computing = Computing { device: base.place().choice(), precision: Precision::Int8 };
        let generator = Generator::start(checkpoint.clone(), context, computing)?;
        let sets = self.answers(&generator, asked, longest)?;
        let (mut examples, mut sum) = (Vec::new(), 0.0);
        for (index, prompt) in prompts.iter().enumerate() {
            let responses: Vec<&Response> = sets.iter().map(|set| &set[index]).collect();
            let scores = scores(&generator, base, reward, prompt, &responses)?;
            let best = scores.into_iter().zip(responses).max_by(|(a, _), (b, _)| a.total_cmp(b));
            if let Some((score, response)) = best.filter(|(score, _)| *score >= self.least) {
                examples.push((prompt.tokens.clone(), response.tokens.clone()));
                sum += score;
            }
        }
        if examples.is_empty() {
            let least = self.least;
            return Err(TrainError::Invalid(format!("warm_start: no answer behind the turns has a score of {least}")));
        }
        tracing::info!(examples = examples.len(), score = sum / examples.len() as f64, "answers to imitate");
        Ok(examples)
    }

    /// The answers to all prompts, set by set.
    fn answers(
        &self,
        generator: &Generator,
        asked: Vec<Vec<Vec<u32>>>,
        longest: usize,
    ) -> Result<Vec<Vec<Response>>, TrainError> {
        let soup = generator.base()?;
        let mut sets = Vec::with_capacity(self.answers);
        for (set, asked) in asked.into_iter().enumerate() {
            let order = |(index, prompt)| {
                let seed = answer_seed(&[self.training.seed, set as u64, index as u64]);
                let &Self { temperature, top_p, .. } = self;
                let sampling = Sampling { max_new_tokens: longest, temperature, top_p, seed };
                Order { prompt, soup: soup.clone(), sampling }
            };
            let orders: Vec<_> = asked.into_iter().enumerate().map(order).collect();
            // The first prompt leaves the turns' keys and values behind for the others.
            let (first, others) = orders.split_at(1);
            sets.push([generator.answer(first)?, generator.answer(others)?].concat());
            tracing::info!(done = set + 1, all = self.answers, "answers to each prompt");
        }
        Ok(sets)
    }

    /// The tokens of all prompts behind the same turns, others for each `set`: what stands before all is computed once.
    fn behind_turns(
        &self,
        checkpoint: &Checkpoint,
        set: usize,
        prompts: &[Prompt],
    ) -> Result<Vec<Vec<u32>>, TrainError> {
        let message = |role: &str, content: &String| Message { role: role.into(), content: content.clone() };
        let turns = self.turns.iter().cycle().skip(set).take(SHOWN.min(self.turns.len()));
        let turns = turns.flat_map(|turn| [message("user", &turn.prompt), message("assistant", &turn.answer)]);
        let turns: Vec<Message> = turns.collect();
        prompts.iter().map(|prompt| chat_tokens(checkpoint, &[turns.as_slice(), &prompt.turns].concat())).collect()
    }
}

/// Scores `responses` to `prompt` as if it had been asked alone.
fn scores(
    generator: &Generator,
    base: &Base,
    reward: &dyn Reward,
    prompt: &Prompt,
    responses: &[&Response],
) -> Result<Vec<f64>, TrainError> {
    let read = |response: &&Response| {
        let log_probs = generator.base_log_probs(&prompt.tokens, &response.tokens)?;
        let log_probs: Vec<f64> = log_probs.into_iter().map(f64::from).collect();
        Ok((generator.checkpoint().tokenizer().decode(&response.tokens), base_nll(&log_probs)))
    };
    let read: Result<Vec<_>, TrainError> = responses.iter().map(read).collect();
    let read = read?;
    let rows = responses.iter().zip(&read).map(|(response, (text, base_nll))| Scoring {
        answer: Answer { prompt: &prompt.text, text, ended: response.ended, base_nll: *base_nll },
        prompt: &prompt.tokens,
        response: &response.tokens,
        active: &[],
    });
    Ok(reward.score_all(base, &rows.collect::<Vec<_>>())?.into_iter().map(|scored| scored.score).collect())
}
