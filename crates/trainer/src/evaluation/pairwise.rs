//! Who wins against whom.

use serde::{Deserialize, Serialize};

use super::answers::Replies;
use super::statistics::{Estimate, clustered_bootstrap};
use crate::annotate::{Annotator, Choice, Comparison};
use crate::error::TrainError;
use crate::prompts::Prompt;

/// One method against another.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Duel {
    /// The method whose wins are counted.
    pub first: String,
    /// The other one.
    pub second: String,
    /// The policies that were wished for; empty for the mean over all combinations.
    pub combination: Vec<String>,
    /// The policy whose preference was judged; none for the mean over those of the combination.
    pub policy: Option<String>,
    /// Who judged.
    pub judge: String,
    /// Pairs of answers of which the first won in both orders.
    pub wins: usize,
    /// Pairs of which neither did.
    pub ties: usize,
    /// Pairs of which the second won in both orders.
    pub losses: usize,
    /// Share of wins, a tie being half of one, with its interval over the prompts.
    pub rate: Estimate,
}

/// The points of the pairs of answers to each prompt: 1 where the first wins in both orders, 0 where the second does, else ½.
pub(super) type Points = Vec<Vec<f64>>;

/// Compares the answers to each prompt in both orders, those of the same draw with each other.
pub(super) fn points(
    annotator: &mut dyn Annotator,
    prompts: &[Prompt],
    [first, second]: [&[Replies]; 2],
) -> Result<Points, TrainError> {
    let mut points = Vec::with_capacity(prompts.len());
    for ((prompt, first), second) in prompts.iter().zip(first).zip(second) {
        let pairs = first.iter().zip(second).map(|(first, second)| [first.text.as_str(), second.text.as_str()]);
        points.push(pairs.map(|answers| point(annotator, prompt, answers)).collect::<Result<_, _>>()?);
    }
    Ok(points)
}

fn point(annotator: &mut dyn Annotator, prompt: &Prompt, answers: [&str; 2]) -> Result<f64, TrainError> {
    if answers[0] == answers[1] {
        return Ok(0.5);
    }
    let shown = Comparison { prompt: &prompt.turns, answers };
    let swapped = Comparison { prompt: &prompt.turns, answers: [answers[1], answers[0]] };
    let verdicts = [annotator.compare(shown)?, annotator.compare(swapped)?.swapped()];
    Ok(match verdicts {
        [Choice::First, Choice::First] => 1.0,
        [Choice::Second, Choice::Second] => 0.0,
        _ => 0.5,
    })
}

/// What `duel` says of the points of its pairs.
pub(super) fn counted(duel: Duel, points: &[Vec<f64>], resamples: usize, seed: u64) -> Duel {
    let count = |value: f64| points.iter().flatten().filter(|point| **point == value).count();
    let (wins, ties, losses) = (count(1.0), count(0.5), count(0.0));
    Duel { wins, ties, losses, rate: clustered_bootstrap(points, resamples, seed), ..duel }
}

/// The points of each prompt in several comparisons.
pub(super) fn joined(all: &[Points]) -> Points {
    let prompts = all.first().map_or(0, Vec::len);
    (0..prompts).map(|prompt| all.iter().flat_map(|points| &points[prompt]).copied().collect()).collect()
}
