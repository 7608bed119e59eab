//! Answers that are to be compared.

use std::path::Path;

use tureen_engine::Message;

use super::Comparison;
use crate::error::TrainError;
use crate::records;

/// Most answers to one prompt: their comparisons grow with the square.
const MOST: usize = 16;

/// A prompt and answers to it.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The turns before the answer.
    pub prompt: Vec<Message>,
    /// Two or more answers.
    pub answers: Vec<String>,
}

/// Reads records of `prompt` (a text or turns) and `answers` (2 to 16 texts).
///
/// # Errors
/// A file that cannot be read, or a record that lacks something; file, line and field are named.
pub fn read(path: &Path) -> Result<Vec<Answers>, TrainError> {
    let records = records::read(path)?;
    let read = records.iter().map(|record| {
        let (prompt, answers) = (record.conversation("prompt", "user")?, record.texts("answers")?);
        if !(2..=MOST).contains(&answers.len()) {
            return Err(record.broken("answers", &format!("holds {} texts instead of 2 to {MOST}", answers.len())));
        }
        Ok(Answers { prompt, answers })
    });
    read.collect()
}

impl Answers {
    /// Every two different answers, in order. Answers without text are left out: nothing is learned from those.
    pub(super) fn comparisons(&self) -> impl Iterator<Item = Comparison<'_>> {
        let all = self.answers.iter().enumerate();
        all.flat_map(|(index, first)| self.answers[index + 1..].iter().map(move |second| [first, second]))
            .filter(|[first, second]| first != second && !first.trim().is_empty() && !second.trim().is_empty())
            .map(|answers| Comparison { prompt: &self.prompt, answers: answers.map(String::as_str) })
    }
}
