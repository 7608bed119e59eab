//! Who wins against whom.

use serde::{Deserialize, Serialize};

use super::answers::Reply;
use super::statistics::{Estimate, bootstrap};
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
    /// Prompts on which the first won in both orders.
    pub wins: usize,
    /// Prompts on which neither did.
    pub ties: usize,
    /// Prompts on which the second won in both orders.
    pub losses: usize,
    /// Share of wins, a tie being half of one, with its interval over the prompts.
    pub rate: Estimate,
}

/// Compares the answers to each prompt in both orders: 1 where the first wins in both, 0 where the second does, else ½.
pub(super) fn points(
    annotator: &mut dyn Annotator,
    prompts: &[Prompt],
    [first, second]: [&[Reply]; 2],
) -> Result<Vec<f64>, TrainError> {
    let mut points = Vec::with_capacity(prompts.len());
    for ((prompt, first), second) in prompts.iter().zip(first).zip(second) {
        let answers = [first.text.as_str(), second.text.as_str()];
        if answers[0] == answers[1] {
            points.push(0.5);
            continue;
        }
        let shown = Comparison { prompt: &prompt.turns, answers };
        let swapped = Comparison { prompt: &prompt.turns, answers: [answers[1], answers[0]] };
        let verdicts = [annotator.compare(shown)?, annotator.compare(swapped)?.swapped()];
        points.push(match verdicts {
            [Choice::First, Choice::First] => 1.0,
            [Choice::Second, Choice::Second] => 0.0,
            _ => 0.5,
        });
    }
    Ok(points)
}

/// What `duel` says of the points of its prompts.
pub(super) fn counted(duel: Duel, points: &[f64], resamples: usize, seed: u64) -> Duel {
    let count = |value: f64| points.iter().filter(|point| **point == value).count();
    let (wins, losses) = (count(1.0), count(0.0));
    Duel { wins, losses, ties: points.len() - wins - losses, rate: bootstrap(points, resamples, seed), ..duel }
}

/// The mean of the points of each prompt over several comparisons.
pub(super) fn mean_points(all: &[Vec<f64>]) -> Vec<f64> {
    let prompts = all.first().map_or(0, Vec::len);
    (0..prompts).map(|prompt| all.iter().map(|points| points[prompt]).sum::<f64>() / all.len() as f64).collect()
}
