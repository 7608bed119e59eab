//! What is known of one person's preference.

use serde::{Deserialize, Serialize};

use super::Belief;
use super::choice::{Said, said};
use super::matrix::{add_outer, diagonal, dot, times};
use super::simplex::{centred, within};

/// How choices are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learning {
    /// β: how surely somebody chooses what they value more. 1 takes the log-probabilities at their word, less for people
    /// who also choose by what no policy knows.
    pub sharpness: f64,
    /// Standard deviation of each weight before the first choice, if there were no bounds to it.
    pub prior: f64,
    /// Of what is known before a choice, how much is kept: 1 forgets nothing.
    pub memory: f64,
}

impl Default for Learning {
    fn default() -> Self {
        Self { sharpness: 0.5, prior: 0.4, memory: 0.99 }
    }
}

/// What is kept of one person: a normal distribution over weights that sum to 1, of which the part counts whose weights are
/// all at least 0 ([`Taste::belief`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taste {
    /// Names of the policies.
    policies: Vec<String>,
    /// The mean of the whole, which may lie outside the simplex.
    mean: Vec<f64>,
    /// Row by row; rows and columns sum to 0.
    covariance: Vec<f64>,
    /// Choices learned from.
    choices: u64,
}

impl Taste {
    /// What is known of somebody who chose nothing yet: they are expected to want `weights`, which sum to 1, but none of
    /// them is ruled out.
    pub fn new(policies: Vec<String>, weights: &[f64], learning: &Learning) -> Self {
        let n = policies.len();
        let variance = learning.prior * learning.prior;
        let entry = |i: usize| variance * (f64::from(u8::from(i / n == i % n)) - 1.0 / n as f64);
        Self::expecting(policies, weights, (0..n * n).map(entry).collect())
    }

    fn expecting(policies: Vec<String>, weights: &[f64], covariance: Vec<f64>) -> Self {
        let least = LEAST / weights.len() as f64;
        let raised: Vec<f64> = weights.iter().map(|weight| weight.max(least)).collect();
        let sum: f64 = raised.iter().sum();
        let inside: Vec<f64> = raised.iter().map(|weight| weight / sum).collect();
        Self { policies, mean: centred(&covariance, &inside), covariance, choices: 0 }
    }

    /// Names of the policies.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// Choices learned from.
    pub fn choices(&self) -> u64 {
        self.choices
    }

    /// What that says of the weights.
    pub fn belief(&self) -> Belief {
        let (mean, covariance) = within(&self.mean, &self.covariance);
        Belief { mean, covariance }
    }

    /// Learns that what gains `gains` on the other was preferred (`preferred` 1), was not (0), or something in between.
    ///
    /// Moments are matched: a normal factor of the value `d · w`, with precision h and pull g, gives it the mean and the
    /// variance within the simplex that the choice does. The distribution times that factor is normal again: its
    /// covariance loses `h S d dᵀ S / (1 + h dᵀSd)`, its mean moves by `(g − h d·m) S d / (1 + h dᵀSd)`. Before, what was
    /// known fades: the covariance grows by `1 / memory`, never beyond the prior's.
    pub fn learn(&mut self, gains: &[f64], preferred: f64, learning: &Learning) {
        self.fade(learning);
        self.choices += 1;
        let (value, variance) = self.belief().value(gains);
        if variance <= KNOWN * dot(gains, gains) {
            return;
        }
        let Said { precision, pull } = said(value, variance, preferred, learning.sharpness);
        let direction = times(&self.covariance, gains);
        let share = 1.0 / (1.0 + precision * dot(gains, &direction).max(0.0));
        let step = (pull - precision * dot(&self.mean, gains)) * share;
        self.mean.iter_mut().zip(&direction).for_each(|(mean, d)| *mean += step * d);
        add_outer(&mut self.covariance, -precision * share, &direction);
    }

    fn fade(&mut self, learning: &Learning) {
        let n = self.policies.len();
        let now: f64 = diagonal(&self.covariance, n).sum();
        let prior = learning.prior * learning.prior * n.saturating_sub(1) as f64;
        if now > 0.0 {
            let growth = (1.0 / learning.memory).min((prior / now).max(1.0));
            self.covariance.iter_mut().for_each(|entry| *entry *= growth);
        }
    }

    /// The same taste over `policies`: what is known of those that stay is kept, others are expected at 0, with the prior.
    #[must_use]
    pub fn over(&self, policies: Vec<String>, learning: &Learning) -> Self {
        if policies == self.policies {
            return self.clone();
        }
        let (n, m) = (policies.len(), self.policies.len());
        let known = self.belief();
        let place: Vec<Option<usize>> =
            policies.iter().map(|name| self.policies.iter().position(|known| known == name)).collect();
        let weights: Vec<f64> = place.iter().map(|at| at.map_or(0.0, |at| known.mean[at])).collect();
        let entry = |i: usize| match (place[i / n], place[i % n]) {
            (Some(row), Some(column)) => self.covariance[row * m + column],
            _ if i / n == i % n => learning.prior * learning.prior,
            _ => 0.0,
        };
        let mut covariance = (0..n * n).map(entry).collect::<Vec<_>>();
        centre(&mut covariance, n);
        Self { choices: self.choices, ..Self::expecting(policies, &weights, covariance) }
    }
}

/// Of an even share, what nobody is expected to want less of before they chose: a weight of 0 could not be learned away.
const LEAST: f64 = 0.1;

/// Variance of a weighted mean of weights that is as good as none: they are known to a ten-thousandth.
const KNOWN: f64 = 1e-8;

/// Takes the means of rows and columns out, so that the distribution stays on the plane.
fn centre(matrix: &mut [f64], n: usize) {
    let rows: Vec<f64> = matrix.chunks_exact(n).map(|row| row.iter().sum::<f64>() / n as f64).collect();
    let all = rows.iter().sum::<f64>() / n as f64;
    for (i, entry) in matrix.iter_mut().enumerate() {
        // Symmetric: the mean of a column is that of its row.
        *entry += all - rows[i / n] - rows[i % n];
    }
}
