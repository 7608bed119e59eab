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

/// Collects problems, so that a pool's owner sees all of them at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<PoolProblem>);

impl Problems {
    pub(crate) fn add(&mut self, place: impl fmt::Display, what: impl fmt::Display) {
        // Parsers answer in several lines and names come out of files; the promise is one line, safe on a terminal.
        let one_line = |text: String| {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            words.replace(char::is_control, "\u{fffd}")
        };
        self.0.push(PoolProblem { place: one_line(place.to_string()), what: one_line(what.to_string()) });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// # Errors
    /// With at least one problem: [`PoolError::Invalid`].
    pub(crate) fn into_result(self) -> Result<(), PoolError> {
        if self.0.is_empty() { Ok(()) } else { Err(PoolError::Invalid(self.0)) }
    }
}
