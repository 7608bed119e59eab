//! How often a reward model agrees with pairs it was not trained on.

use candle_core::Result;
use serde::{Deserialize, Serialize};

use super::RewardModel;
use crate::model::Base;

/// A share of pairs with its 95 % interval (Wilson 1927).
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
pub struct Accuracy {
    /// Pairs whose chosen answer got the higher reward.
    pub right: usize,
    /// All pairs.
    pub pairs: usize,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Accuracy {
    /// `right` of `pairs`: centre `(p + z^2/2n) / (1 + z^2/n)`, half width
    /// `z sqrt(p (1 - p)/n + z^2/4n^2) / (1 + z^2/n)`, z = 1.96.
    pub fn of(right: usize, pairs: usize) -> Self {
        if pairs == 0 {
            return Self { right, pairs, low: 0.0, high: 1.0 };
        }
        let (z, n) = (1.959_963_984_540_054_f64, pairs as f64);
        let p = right as f64 / n;
        let scale = 1.0 + z * z / n;
        let centre = (p + z * z / (2.0 * n)) / scale;
        let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / scale;
        Self { right, pairs, low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
    }

    /// The share itself.
    pub fn share(&self) -> f64 {
        self.right as f64 / self.pairs.max(1) as f64
    }
}

/// Compares the rewards of chosen and rejected sequences; equal rewards are wrong.
///
/// # Errors
/// A sequence longer than the base's tables.
pub fn accuracy(model: &RewardModel, base: &Base, pairs: &[[Vec<u32>; 2]]) -> Result<Accuracy> {
    let mut right = 0;
    for [chosen, rejected] in pairs {
        let rewards = model.rewards(base, &[chosen.clone(), rejected.clone()])?;
        right += usize::from(rewards[0] > rewards[1]);
    }
    Ok(Accuracy::of(right, pairs.len()))
}
