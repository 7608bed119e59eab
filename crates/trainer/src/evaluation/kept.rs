//! Answers on disk as they are made, so that an evaluation that was broken off goes on.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tureen_engine::{Checkpoint, Precision};
use tureen_soup::Pool;

use super::answers::{Identity, Place, Replies, Reply};
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
    /// The number among the answers to that prompt; the first one's is left out.
    #[serde(default)]
    draw: usize,
    answer: String,
    ended: bool,
    /// In nats a token, as text: a JSON number may lose its last bit on the way back.
    base_nll: String,
}

/// The answers so far, in memory and in a file.
pub(super) struct Kept {
    journal: Journal,
    identity: String,
    replies: BTreeMap<Identity, BTreeMap<Place, Reply>>,
}

impl Kept {
    /// Takes up the answers at `path`, those of the same `identity` ([`identity`]) to `prompts`: the first `draws` to each.
    pub(super) fn take_up(path: &Path, identity: String, prompts: &[Prompt], draws: usize) -> Result<Self, TrainError> {
        let (journal, records) = Journal::take_up(path, "evaluation", &identity)?;
        let mut replies: BTreeMap<Identity, BTreeMap<Place, Reply>> = BTreeMap::new();
        for (index, record) in records.into_iter().enumerate() {
            let broken = |message: String| TrainError::Record { path: path.to_owned(), line: index + 1, message };
            let line: Line = serde_json::from_value(record).map_err(|error| broken(error.to_string()))?;
            let Line { soup, instructions, prompt: row, draw, answer, ended, base_nll } = line;
            let prompt = prompts.get(row).ok_or_else(|| broken(format!("field \"prompt\" is {row}: there is none")))?;
            let base_nll = base_nll.parse().map_err(|_| broken("field \"base_nll\" is no number".into()))?;
            let reply = Reply::new(prompt, answer, ended, base_nll);
            // An evaluation with more answers to each prompt may have been here before.
            if draw < draws {
                replies.entry((soup, instructions)).or_default().insert(Place { prompt: row, draw }, reply);
            }
        }
        Ok(Self { journal, identity, replies })
    }

    /// How many answers of `speaker` there are.
    pub(super) fn count(&self, speaker: &Identity) -> usize {
        self.replies.get(speaker).map_or(0, BTreeMap::len)
    }

    /// Whether there is the answer of `speaker` at `place`.
    pub(super) fn has(&self, speaker: &Identity, place: Place) -> bool {
        self.replies.get(speaker).is_some_and(|replies| replies.contains_key(&place))
    }

    /// Writes answers, who gave them and which they are, then remembers them.
    pub(super) fn append(&mut self, answers: Vec<(Identity, Place, Reply)>) -> Result<(), TrainError> {
        let line = |((soup, instructions), Place { prompt, draw }, reply): &(Identity, Place, Reply)| {
            let Reply { text, ended, base_nll, gate: _ } = reply;
            let base_nll = base_nll.to_string();
            let mut line = json!({
                "evaluation": self.identity, "soup": soup, "instructions": instructions, "prompt": prompt,
                "answer": text, "ended": ended, "base_nll": base_nll,
            });
            if *draw > 0 {
                line["draw"] = json!(draw);
            }
            line
        };
        self.journal.append(&answers.iter().map(line).collect::<Vec<_>>())?;
        for (speaker, place, reply) in answers {
            self.replies.entry(speaker).or_default().insert(place, reply);
        }
        Ok(())
    }

    /// Everyone's answers in the order of the prompts, and those to one prompt in the order of the draws.
    pub(super) fn into_replies(self) -> BTreeMap<Identity, Vec<Replies>> {
        let by_prompt = |replies: BTreeMap<Place, Reply>| {
            let mut grouped: BTreeMap<usize, Replies> = BTreeMap::new();
            replies.into_iter().for_each(|(place, reply)| grouped.entry(place.prompt).or_default().push(reply));
            grouped.into_values().collect()
        };
        self.replies.into_iter().map(|(speaker, replies)| (speaker, by_prompt(replies))).collect()
    }
}

/// A hash over everything that decides what a soup under given instructions answers: the base, the pool, the prompts, and
/// how they are answered. Who answers, and which answer it is, is told line by line, so that a further method finds the
/// others' answers there, and a run with more answers to each prompt the first ones.
pub(super) fn identity(
    checkpoint: &Checkpoint,
    pool: &Pool,
    prompts: &[Prompt],
    generation: &EvaluationGeneration,
    precision: Precision,
) -> String {
    let EvaluationGeneration { max_new_tokens, answers_per_prompt: _, seed, resamples: _ } = generation;
    let turns: Vec<_> = prompts.iter().map(|prompt| &prompt.turns).collect();
    let (revision, precision) = (pool.revision().to_string(), format!("{precision:?}"));
    let all = json!([checkpoint.sha256(), revision, turns, max_new_tokens, seed, precision]);
    Sha256::digest(all.to_string()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
