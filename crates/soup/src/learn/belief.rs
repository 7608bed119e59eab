//! What is believed of somebody's weights.

use libm::{exp, log1p};

use super::Learning;
use super::matrix::{diagonal, dot, times};

/// Mean and covariance of weights that are at least 0 and sum to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    pub(super) mean: Vec<f64>,
    /// Row by row; rows and columns sum to 0.
    pub(super) covariance: Vec<f64>,
}

/// Two answers whose comparison teaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Index of one.
    pub first: usize,
    /// Index of the other, which is larger.
    pub second: usize,
    /// How much the choice teaches, in nats, by estimate.
    pub teaches: f64,
}

impl Belief {
    /// The expected weights: at least 0, summing to 1.
    pub fn weights(&self) -> &[f64] {
        &self.mean
    }

    /// Standard deviation of each weight.
    pub fn deviations(&self) -> Vec<f64> {
        diagonal(&self.covariance, self.mean.len()).map(|variance| variance.max(0.0).sqrt()).collect()
    }

    /// Probability that what gains `gains` on the other is preferred: `σ(β m·d)`, softened by what is not known of w
    /// (MacKay 1992).
    pub fn probability(&self, gains: &[f64], learning: &Learning) -> f64 {
        let (mean, variance) = self.value(gains);
        probability(mean, variance, learning)
    }

    /// How much the choice would teach, in nats: `½ ln(1 + p(1−p) β² dᵀSd)`.
    pub fn information(&self, gains: &[f64], learning: &Learning) -> f64 {
        let (mean, variance) = self.value(gains);
        information(mean, variance, learning)
    }

    /// Mean and variance of what the gains are worth, `w · d`, in nats.
    pub(super) fn value(&self, gains: &[f64]) -> (f64, f64) {
        (dot(&self.mean, gains), dot(gains, &times(&self.covariance, gains)).max(0.0))
    }

    /// Of answers with these gains on one and the same other, the two that would teach most if they were compared: of all
    /// pairs the most [information](Self::information). `None` of fewer than two.
    pub fn most_telling(&self, answers: &[Vec<f64>], learning: &Learning) -> Option<Comparison> {
        let seen: Vec<Vec<f64>> = answers.iter().map(|gains| times(&self.covariance, gains)).collect();
        let values: Vec<(f64, f64)> =
            answers.iter().zip(&seen).map(|(gains, seen)| (dot(&self.mean, gains), dot(gains, seen))).collect();
        let compared = |first: usize, second: usize| {
            let ((mean, variance), (other, others)) = (values[first], values[second]);
            let apart = (variance + others - 2.0 * dot(&answers[first], &seen[second])).max(0.0);
            Comparison { first, second, teaches: information(mean - other, apart, learning) }
        };
        let pairs = (0..answers.len()).flat_map(|first| (first + 1..answers.len()).map(move |second| (first, second)));
        pairs.map(|(first, second)| compared(first, second)).max_by(|a, b| a.teaches.total_cmp(&b.teaches))
    }
}

fn probability(mean: f64, variance: f64, learning: &Learning) -> f64 {
    let beta = learning.sharpness;
    let z = beta * mean / (1.0 + std::f64::consts::PI * beta * beta * variance / 8.0).sqrt();
    1.0 / (1.0 + exp(-z))
}

fn information(mean: f64, variance: f64, learning: &Learning) -> f64 {
    let (beta, p) = (learning.sharpness, probability(mean, variance, learning));
    0.5 * log1p(p * (1.0 - p) * beta * beta * variance)
}
