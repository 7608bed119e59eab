//! The weight of the KL penalty, held to a target.

/// Share of a step's KL in the running mean: three steps or so count.
const NEW: f64 = 0.3;

/// `beta = c exp(gain . clip(m / target - 1, -1, 1))`, where `m` is the running mean of the KL and `c` the slow weight
/// `c <- c (1 + clip(kl / target - 1, -0.2, 0.2) n / horizon)` after each step of `n` responses.
///
/// With `gain` 0 this is the controller of Ziegler et al. (arXiv 1909.08593). That one alone cannot hold a policy whose
/// reward rises as fast as its KL: a weight under the slope lets it run off, one above it pulls it back to the base, and
/// the slow weight is always late. The factor makes the penalty steeper than the reward around the target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveKl {
    /// The slow weight, per nat: what the penalty weighs at the target.
    pub coef: f64,
    /// The wanted KL of a response to the base, in nats.
    pub target: f64,
    /// Responses over which the slow weight may change by a fifth.
    pub horizon: f64,
    /// How steeply the weight follows the KL.
    pub gain: f64,
    /// Running mean of the KL, in nats; 0 at the start, where the policy is the base.
    pub mean: f64,
}

impl AdaptiveKl {
    /// The weight of the next step, per nat.
    pub fn beta(&self) -> f64 {
        self.coef * (self.gain * (self.mean / self.target - 1.0).clamp(-1.0, 1.0)).exp()
    }

    /// Adapts the weight to the mean `kl` of `responses` responses.
    pub fn update(&mut self, kl: f64, responses: usize) {
        let error = (kl / self.target - 1.0).clamp(-0.2, 0.2);
        self.coef *= 1.0 + error * responses as f64 / self.horizon;
        self.mean += NEW * (kl - self.mean);
    }
}
