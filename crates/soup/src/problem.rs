//! What can be wrong with a pool.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// One thing that is wrong with a pool, told in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct PoolProblem {
    place: String,
    what: String,
}

/// Why a pool is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The manifest was read and the pool is not as it says, or does not fit the base: everything that is wrong.
    #[error("{}", lines(.0))]
    Invalid(Vec<PoolProblem>),
    /// The manifest could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Manifest {
        /// The manifest's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn lines(problems: &[PoolProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// More problems than this are counted, not listed: a broken file can have one for each of its tensors.
const LISTED: usize = 1000;

/// Longest text of a place or a problem, in characters: both quote files.
const SHOWN: usize = 400;

/// Collects problems, so that a pool's owner sees all of them at once.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    listed: Vec<PoolProblem>,
    unlisted: usize,
}

impl Problems {
    pub(crate) fn add(&mut self, place: impl fmt::Display, what: impl fmt::Display) {
        if self.listed.len() < LISTED {
            self.listed.push(PoolProblem { place: one_line(place), what: one_line(what) });
        } else {
            self.unlisted += 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.listed.len() + self.unlisted
    }

    /// # Errors
    /// With at least one problem: [`PoolError::Invalid`].
    pub(crate) fn into_result(mut self) -> Result<(), PoolError> {
        if self.listed.is_empty() {
            return Ok(());
        }
        if self.unlisted > 0 {
            let what = format!("and {} more problems", self.unlisted);
            self.listed.push(PoolProblem { place: "the pool".into(), what });
        }
        Err(PoolError::Invalid(self.listed))
    }
}

/// Parsers answer in several lines and names come out of files; the promise is one line, safe on a terminal.
fn one_line(text: impl fmt::Display) -> String {
    let text = text.to_string();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let shown = line.chars().take(SHOWN).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    let cut = if line.chars().nth(SHOWN).is_some() { "..." } else { "" };
    shown.chain(cut.chars()).collect()
}
