//! What is known of one person's preference.

use serde::{Deserialize, Serialize};

use super::quadratic::{dot, on_simplex, times};

/// How choices are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learning {
    /// β: how surely somebody chooses what they value more. 1 takes the log-probabilities at their word, less for people
    /// who also choose by what no policy knows.
    pub sharpness: f64,
    /// Standard deviation of each weight before the first choice.
    pub prior: f64,
    /// Of what is known before a choice, how much is kept: 1 forgets nothing.
    pub memory: f64,
}

impl Default for Learning {
    fn default() -> Self {
        Self { sharpness: 0.5, prior: 0.4, memory: 0.99 }
    }
}

/// A normal distribution over weights that sum to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taste {
    /// Names of the policies.
    policies: Vec<String>,
    /// The mean, which may lie outside the simplex by a little.
    mean: Vec<f64>,
    /// Row by row; rows and columns sum to 0.
    covariance: Vec<f64>,
    /// Choices learned from.
    choices: u64,
}

impl Taste {
    /// What is known of somebody who chose nothing yet: `weights`, which sum to 1, and how sure that is.
    pub fn new(policies: Vec<String>, weights: Vec<f64>, learning: &Learning) -> Self {
        let n = policies.len();
        let variance = learning.prior * learning.prior;
        let entry = |i: usize| variance * (f64::from(u8::from(i / n == i % n)) - 1.0 / n as f64);
        Self { policies, mean: weights, covariance: (0..n * n).map(entry).collect(), choices: 0 }
    }

    /// Names of the policies.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// Choices learned from.
    pub fn choices(&self) -> u64 {
        self.choices
    }

    /// Standard deviation of each weight.
    pub fn deviations(&self) -> Vec<f64> {
        let n = self.policies.len();
        (0..n).map(|i| self.covariance[i * n + i].max(0.0).sqrt()).collect()
    }

    /// The likeliest weights: at least 0, summing to 1.
    pub fn weights(&self) -> Vec<f64> {
        on_simplex(&self.mean, &self.covariance)
    }

    /// Probability that somebody of this taste prefers what gains `gains` on the other: `σ(β m·d)`, softened by what is not
    /// known of w (MacKay 1992).
    pub fn probability(&self, gains: &[f64], learning: &Learning) -> f64 {
        let (z, variance) = self.margin(gains, learning);
        sigmoid(z / (1.0 + std::f64::consts::PI * variance / 8.0).sqrt())
    }

    /// How much an answer to the question would teach, in nats at most: `½ ln(1 + p(1−p) β² dᵀSd)`.
    pub fn information(&self, gains: &[f64], learning: &Learning) -> f64 {
        let (_, variance) = self.margin(gains, learning);
        let p = self.probability(gains, learning);
        0.5 * (p * (1.0 - p) * variance).ln_1p()
    }

    fn margin(&self, gains: &[f64], learning: &Learning) -> (f64, f64) {
        let beta = learning.sharpness;
        (beta * dot(&self.mean, gains), beta * beta * dot(gains, &times(&self.covariance, gains)).max(0.0))
    }

    /// Learns that what gains `gains` on the other was preferred (`preferred` 1), was not (0), or something in between.
    ///
    /// Laplace's approximation around the posterior's maximum. On the plane that is a search along one line,
    /// `m + t S d` with `t = β (y − σ(β d·(m + t S d)))`, and the covariance loses `h S d dᵀ S / (1 + h dᵀSd)` with
    /// `h = β² p (1 − p)` there. Before, what was known fades: the covariance grows by `1 / memory`, never beyond the prior's.
    pub fn learn(&mut self, gains: &[f64], preferred: f64, learning: &Learning) {
        self.fade(learning);
        let beta = learning.sharpness;
        let direction = times(&self.covariance, gains);
        let (variance, at) = (dot(gains, &direction).max(0.0), dot(&self.mean, gains));
        // t falls from y=1 at −∞ to y=0 at ∞ on the right and rises on the left: they cross once.
        let over = |t: f64| t - beta * (preferred - sigmoid(beta * (at + t * variance)));
        let (mut low, mut high) = (-beta, beta);
        for _ in 0..BISECTIONS {
            let middle = f64::midpoint(low, high);
            if over(middle) > 0.0 { high = middle } else { low = middle }
        }
        let t = f64::midpoint(low, high);
        self.mean.iter_mut().zip(&direction).for_each(|(mean, d)| *mean += t * d);
        let p = sigmoid(beta * (at + t * variance));
        let h = beta * beta * p * (1.0 - p);
        let n = self.policies.len();
        for (i, entry) in self.covariance.iter_mut().enumerate() {
            *entry -= h * direction[i / n] * direction[i % n] / (1.0 + h * variance);
        }
        self.choices += 1;
    }

    fn fade(&mut self, learning: &Learning) {
        let n = self.policies.len();
        let now: f64 = (0..n).map(|i| self.covariance[i * n + i]).sum();
        let prior = learning.prior * learning.prior * n.saturating_sub(1) as f64;
        if now > 0.0 {
            let growth = (1.0 / learning.memory).min((prior / now).max(1.0));
            self.covariance.iter_mut().for_each(|entry| *entry *= growth);
        }
    }

    /// The same taste over `policies`: what is known of those that stay is kept, others begin at 0 with the prior.
    #[must_use]
    pub fn over(&self, policies: Vec<String>, learning: &Learning) -> Self {
        if policies == self.policies {
            return self.clone();
        }
        let (n, m) = (policies.len(), self.policies.len());
        let place: Vec<Option<usize>> =
            policies.iter().map(|name| self.policies.iter().position(|known| known == name)).collect();
        let mut weights: Vec<f64> = place.iter().map(|at| at.map_or(0.0, |at| self.mean[at])).collect();
        let missing = (1.0 - weights.iter().sum::<f64>()) / n as f64;
        weights.iter_mut().for_each(|weight| *weight += missing);
        let mut taste = Self::new(policies, weights, learning);
        let known = |i: usize| Some((place[i / n]?, place[i % n]?));
        for (i, entry) in taste.covariance.iter_mut().enumerate() {
            if let Some((row, column)) = known(i) {
                *entry = self.covariance[row * m + column];
            }
        }
        centre(&mut taste.covariance, n);
        taste.choices = self.choices;
        taste
    }
}

/// Takes the means of rows and columns out, so that the distribution stays on the plane.
fn centre(matrix: &mut [f64], n: usize) {
    let rows: Vec<f64> = matrix.chunks_exact(n).map(|row| row.iter().sum::<f64>() / n as f64).collect();
    let all = rows.iter().sum::<f64>() / n as f64;
    for (i, entry) in matrix.iter_mut().enumerate() {
        // Symmetric: the mean of a column is that of its row.
        *entry += all - rows[i / n] - rows[i % n];
    }
}

/// Halvings of an interval of at most 2β: below the precision of its ends.
const BISECTIONS: usize = 60;

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}
