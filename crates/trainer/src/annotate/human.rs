//! The annotator that looks up what people preferred.

use std::collections::HashSet;
use std::path::Path;

use super::{Annotator, Choice, Comparison};
use crate::error::TrainError;
use crate::pairs;

/// Preferences of a pair file. Comparisons that are not in it are ties.
pub struct Human {
    /// By the key of (chosen, rejected).
    chosen_first: HashSet<String>,
}

impl Human {
    /// Reads the pairs at `path`, of any shape.
    ///
    /// # Errors
    /// As for [`pairs::read`].
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let pairs = pairs::read(path)?;
        let key =
            |pair: &pairs::Pair| Comparison { prompt: &pair.prompt, answers: [&pair.chosen, &pair.rejected] }.key();
        Ok(Self { chosen_first: pairs.iter().map(key).collect() })
    }
}

impl Annotator for Human {
    /// People who contradict one another make a tie.
    fn compare(&mut self, comparison: Comparison<'_>) -> Result<Choice, TrainError> {
        let [first, second] = comparison.answers;
        let swapped = Comparison { answers: [second, first], ..comparison };
        let prefer = |comparison: &Comparison<'_>| self.chosen_first.contains(&comparison.key());
        Ok(match (prefer(&comparison), prefer(&swapped)) {
            (true, false) => Choice::First,
            (false, true) => Choice::Second,
            _ => Choice::Tie,
        })
    }
}
