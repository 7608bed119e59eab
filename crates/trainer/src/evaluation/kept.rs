//! Answers on disk as they are made, so that an evaluation that was broken off goes on.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tureen_engine::{Checkpoint, Precision};
use tureen_soup::Pool;

use super::answers::{Identity, Reply};
use super::config::EvaluationGeneration;
use crate::error::TrainError;
use crate::journal::Journal;
use crate::prompts::Prompt;

/// What a line says, besides the hash that it belongs to.
#[derive(Deserialize)]
struct Line {
    /// Whose parameters: with the instructions, who answered.
    soup: String,
    instructions: Vec<String>,
    /// The prompt's number, from 0.
    prompt: usize,
    answer: String,
    ended: bool,
    /// In nats a token, as text: a JSON number may lose its last bit on the way back.
    base_nll: String,
}

/// The answers so far, in memory and in a file.
pub(super) struct Kept {
    journal: Journal,
    identity: String,
    replies: BTreeMap<Identity, BTreeMap<usize, Reply>>,
}

impl Kept {
    /// Takes up the answers at `path`, those of the same `identity` ([`identity`]) to `prompts`.
    pub(super) fn take_up(path: &Path, identity: String, prompts: &[Prompt]) -> Result<Self, TrainError> {
        let (journal, records) = Journal::take_up(path, "evaluation", &identity)?;
        let mut replies: BTreeMap<Identity, BTreeMap<usize, Reply>> = BTreeMap::new();
        for (index, record) in records.into_iter().enumerate() {
            let broken = |message: String| TrainError::Record { path: path.to_owned(), line: index + 1, message };
            let line: Line = serde_json::from_value(record).map_err(|error| broken(error.to_string()))?;
            let Line { soup, instructions, prompt: row, answer, ended, base_nll } = line;
            let prompt = prompts.get(row).ok_or_else(|| broken(format!("field \"prompt\" is {row}: there is none")))?;
            let base_nll = base_nll.parse().map_err(|_| broken("field \"base_nll\" is no number".into()))?;
            let reply = Reply::new(prompt, answer, ended, base_nll);
            replies.entry((soup, instructions)).or_default().insert(row, reply);
        }
        Ok(Self { journal, identity, replies })
    }

    /// How many answers of `speaker` there are.
    pub(super) fn count(&self, speaker: &Identity) -> usize {
        self.replies.get(speaker).map_or(0, BTreeMap::len)
    }

    /// Whether there is an answer of `speaker` to the prompt `row`.
    pub(super) fn has(&self, speaker: &Identity, row: usize) -> bool {
        self.replies.get(speaker).is_some_and(|replies| replies.contains_key(&row))
    }

    /// Writes answers, who gave them and to which prompt, then remembers them.
    pub(super) fn append(&mut self, answers: Vec<(Identity, usize, Reply)>) -> Result<(), TrainError> {
        let line = |((soup, instructions), row, reply): &(Identity, usize, Reply)| {
            let Reply { text, ended, base_nll, gate: _ } = reply;
            let base_nll = base_nll.to_string();
            json!({
                "evaluation": self.identity, "soup": soup, "instructions": instructions, "prompt": row,
                "answer": text, "ended": ended, "base_nll": base_nll,
            })
        };
        self.journal.append(&answers.iter().map(line).collect::<Vec<_>>())?;
        for (speaker, row, reply) in answers {
            self.replies.entry(speaker).or_default().insert(row, reply);
        }
        Ok(())
    }

    /// Everyone's answers in the order of the prompts.
    pub(super) fn into_replies(self) -> BTreeMap<Identity, Vec<Reply>> {
        self.replies.into_iter().map(|(speaker, replies)| (speaker, replies.into_values().collect())).collect()
    }
}

/// A hash over everything that decides what a soup under given instructions answers: the base, the pool, the prompts, and
/// how they are answered. Who answers is told line by line, so that a further method finds the others' answers there.
pub(super) fn identity(
    checkpoint: &Checkpoint,
    pool: &Pool,
    prompts: &[Prompt],
    generation: &EvaluationGeneration,
    precision: Precision,
) -> String {
    let EvaluationGeneration { max_new_tokens, seed, resamples: _ } = generation;
    let turns: Vec<_> = prompts.iter().map(|prompt| &prompt.turns).collect();
    let (revision, precision) = (pool.revision().to_string(), format!("{precision:?}"));
    let all = json!([checkpoint.sha256(), revision, turns, max_new_tokens, seed, precision]);
    Sha256::digest(all.to_string()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
