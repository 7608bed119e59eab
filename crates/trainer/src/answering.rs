//! Answers to be compared: every prompt under a preference's instruction, under the opposite one, and plain.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tureen_engine::{Checkpoint, Message};

use crate::error::TrainError;
use crate::generator::{Generator, Order, Sampling, answer_seed};
use crate::journal::Journal;
use crate::prompts::{chat_tokens, instructed};

/// Prompts that are answered between two writes.
const GROUP: usize = 16;

/// A preference, and how it is asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PreferenceOptions {
    /// Its name, and the file's.
    pub id: String,
    /// What is appended to a prompt.
    pub instruction: String,
    /// The same for the opposite; none leaves those answers out.
    #[serde(default)]
    pub opposite: Option<String>,
}

/// How prompts are answered.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerOptions {
    /// Answers for each way of asking.
    pub answers: usize,
    /// Longest answer, in tokens.
    pub max_new_tokens: usize,
    /// Divides the logits.
    pub temperature: f32,
    /// Smallest probability that the likeliest tokens kept must reach; 1 keeps all.
    pub top_p: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        Self { answers: 1, max_new_tokens: 64, temperature: 1.0, top_p: 1.0, seed: 1 }
    }
}

/// What a rollout came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Prompts answered now.
    pub answered: usize,
    /// Prompts that an earlier run had answered.
    pub remembered: usize,
}

impl PreferenceOptions {
    /// The ways of asking, in the order of the answers.
    fn ways(&self) -> Vec<Option<&str>> {
        let opposite = self.opposite.as_deref().map(Some);
        [Some(Some(self.instruction.as_str())), opposite, Some(None)].into_iter().flatten().collect()
    }
}

/// Answers `prompts` and appends one record for each to `out`: `prompt` (as it was, without instructions), `answers`, the
/// `instructions` they were given under (null for none), and `rollout`, a hash of everything that decides them. What an
/// earlier run of the same hash wrote is kept and not done again, but for a line that a crash cut off. `watch` gets the number of
/// records there are, whenever some are written.
///
/// # Errors
/// A file that another rollout wrote or that cannot be written, or prompts that the engine refuses.
pub fn answer_prompts(
    generator: &Generator,
    prompts: &[Vec<Message>],
    preference: &PreferenceOptions,
    options: &AnswerOptions,
    out: &Path,
    mut watch: impl FnMut(usize),
) -> Result<Written, TrainError> {
    let identity = identity(generator, prompts, preference, options);
    let (mut journal, remembered) = Journal::take_up(out, "rollout", &identity)?;
    let remembered = remembered.len();
    let ways = preference.ways();
    let instructions: Vec<Option<&str>> =
        ways.iter().flat_map(|way| std::iter::repeat_n(*way, options.answers)).collect();
    let name = seed_of(&preference.id);
    let soup = generator.base()?;
    for first in (remembered..prompts.len()).step_by(GROUP) {
        let group = &prompts[first..prompts.len().min(first + GROUP)];
        let mut orders = Vec::with_capacity(group.len() * instructions.len());
        for (prompt, index) in group.iter().zip(first as u64..) {
            for (answer, instruction) in instructions.iter().enumerate() {
                let turns = instructed(prompt, instruction.as_slice());
                let seed = answer_seed(&[options.seed, name, index, answer as u64]);
                let AnswerOptions { max_new_tokens, temperature, top_p, .. } = *options;
                let sampling = Sampling { max_new_tokens, temperature, top_p, seed };
                let prompt = chat_tokens(generator.checkpoint(), &turns)?;
                orders.push(Order { prompt, soup: soup.clone(), sampling });
            }
        }
        let responses = generator.answer(&orders)?;
        let mut records = Vec::with_capacity(group.len());
        for (prompt, responses) in group.iter().zip(responses.chunks(instructions.len())) {
            let decode = |tokens: &[u32]| generator.checkpoint().tokenizer().decode(tokens).trim().to_owned();
            let answers: Vec<String> = responses.iter().map(|response| decode(&response.tokens)).collect();
            records.push(json!({
                "prompt": shown(prompt), "answers": answers, "instructions": instructions, "rollout": identity,
            }));
        }
        journal.append(&records)?;
        watch(first + group.len());
    }
    Ok(Written { answered: prompts.len().saturating_sub(remembered), remembered })
}

/// Tokens of the longest chat that `preference` asks for.
///
/// # Errors
/// A checkpoint without chat template.
pub fn longest_prompt(
    checkpoint: &Checkpoint,
    prompts: &[Vec<Message>],
    preference: &PreferenceOptions,
) -> Result<usize, TrainError> {
    let mut longest = 0;
    for prompt in prompts {
        for way in preference.ways() {
            longest = longest.max(chat_tokens(checkpoint, &instructed(prompt, way.as_slice()))?.len());
        }
    }
    Ok(longest)
}

/// A prompt of one turn as a text, others as turns.
fn shown(prompt: &[Message]) -> Value {
    match prompt {
        [Message { role, content }] if role == "user" => json!(content),
        turns => json!(turns),
    }
}

fn identity(
    generator: &Generator,
    prompts: &[Vec<Message>],
    preference: &PreferenceOptions,
    options: &AnswerOptions,
) -> String {
    let all = json!([
        generator.checkpoint().sha256(),
        generator.computing().effective().name(),
        prompts,
        preference,
        options
    ])
    .to_string();
    Sha256::digest(all).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn seed_of(name: &str) -> u64 {
    answer_seed(&name.bytes().map(u64::from).collect::<Vec<_>>())
}
