//! The weight of the KL penalty, adapted to a target (Ziegler et al., arXiv 1909.08593).

/// `beta <- beta (1 + clip(kl / target - 1, -0.2, 0.2) n / horizon)` after each step of `n` responses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveKl {
    /// The weight, per nat.
    pub beta: f64,
    /// The wanted KL of a response to the base, in nats.
    pub target: f64,
    /// Responses over which the weight may change by a fifth.
    pub horizon: f64,
}

impl AdaptiveKl {
    /// Adapts the weight to the mean `kl` of `responses` responses.
    pub fn update(&mut self, kl: f64, responses: usize) {
        let error = (kl / self.target - 1.0).clamp(-0.2, 0.2);
        self.beta *= 1.0 + error * responses as f64 / self.horizon;
    }
}
