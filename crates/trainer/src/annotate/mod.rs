//! From answers to preference pairs: who prefers which of two answers.

mod answers;
mod human;
pub mod judge;
mod log;
mod measures;
mod model;
mod options;
mod rules;

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use answers::{Answers, read as read_answers};
pub use human::Human;
use log::Log;
pub use measures::Measures;
pub use model::ModelLabels;
pub use options::AnnotatorOptions;
pub use rules::Rules;

use tureen_engine::Message;

use crate::error::TrainError;
use crate::pairs::{self, Pair};

/// Two answers to one prompt, in the order of the file.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The turns before the answer.
    pub prompt: &'a [Message],
    /// The answers.
    pub answers: [&'a str; 2],
}

impl Comparison<'_> {
    /// A hash over prompt and answers, hexadecimal: what a verdict is remembered by.
    pub(crate) fn key(&self) -> String {
        let json = serde_json::json!([self.prompt, self.answers]).to_string();
        Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What was asked last.
    pub(crate) fn question(&self) -> &str {
        self.prompt.last().map_or("", |turn| turn.content.as_str())
    }
}

/// Which of two answers is preferred.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The first.
    First,
    /// The second.
    Second,
    /// Neither: the two make no pair.
    Tie,
}

impl Choice {
    /// The same choice when the answers change places.
    pub(crate) fn swapped(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Tie => Self::Tie,
        }
    }
}

/// Who compares answers.
pub trait Annotator {
    /// Prefers one of two answers, or neither.
    ///
    /// # Errors
    /// Whatever keeps the annotator from an opinion; the verdicts so far are kept.
    fn compare(&mut self, comparison: Comparison<'_>) -> Result<Choice, TrainError>;
}

/// An annotator whose verdicts are kept on disk and not asked for again.
pub(crate) struct Remembering {
    annotator: Box<dyn Annotator>,
    log: Log,
}

impl Remembering {
    /// Takes up the verdicts at `path`, those of an annotator of the same `identity`.
    pub(crate) fn new(annotator: Box<dyn Annotator>, identity: &str, path: &Path) -> Result<Self, TrainError> {
        Ok(Self { annotator, log: Log::open(path, identity)? })
    }
}

impl Annotator for Remembering {
    fn compare(&mut self, comparison: Comparison<'_>) -> Result<Choice, TrainError> {
        let key = comparison.key();
        if let Some(choice) = self.log.get(&key) {
            return Ok(choice);
        }
        let choice = self.annotator.compare(comparison)?;
        self.log.append(key, choice)?;
        Ok(choice)
    }
}

/// What an annotation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Pairs written.
    pub pairs: usize,
    /// Comparisons without a preference.
    pub ties: usize,
    /// Comparisons that an earlier run had made.
    pub remembered: usize,
}

/// Compares the answers of every prompt with one another and writes the pairs to `out`. Each verdict is appended to
/// `verdicts` as soon as it is there; a run that was broken off takes those up and asks only for the rest. `identity` says
/// who annotates: verdicts of another identity are refused. `watch` gets the comparisons made and all there are, after each.
///
/// # Errors
/// Files that cannot be read or written, or what the annotator fails with.
pub fn annotate(
    answers: &[Answers],
    annotator: &mut dyn Annotator,
    identity: &str,
    verdicts: &Path,
    out: &Path,
    mut watch: impl FnMut(usize, usize),
) -> Result<Summary, TrainError> {
    let mut log = Log::open(verdicts, identity)?;
    let mut summary = Summary::default();
    let mut pairs = Vec::new();
    let comparisons: Vec<_> = answers.iter().flat_map(Answers::comparisons).collect();
    for (index, comparison) in comparisons.iter().enumerate() {
        let key = comparison.key();
        let choice = match log.get(&key) {
            Some(choice) => {
                summary.remembered += 1;
                choice
            }
            None => {
                let choice = annotator.compare(*comparison)?;
                log.append(key, choice)?;
                choice
            }
        };
        watch(index + 1, comparisons.len());
        let [first, second] = comparison.answers.map(str::to_owned);
        let (chosen, rejected) = match choice {
            Choice::First => (first, second),
            Choice::Second => (second, first),
            Choice::Tie => {
                summary.ties += 1;
                continue;
            }
        };
        pairs.push(Pair { prompt: comparison.prompt.to_vec(), chosen, rejected });
    }
    summary.pairs = pairs.len();
    pairs::write(out, &pairs)?;
    Ok(summary)
}
