//! Running mean and deviation of the scores.

/// Mean and variance over every score so far, merged batch by batch (Chan et al. 1979; TRL's `RunningMoments`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunningMoments {
    /// Mean of all scores.
    pub mean: f64,
    /// Biased variance of all scores.
    pub variance: f64,
    /// How many scores; starts at TRL's 1e-24 so that the first batch decides alone.
    pub count: f64,
}

impl Default for RunningMoments {
    fn default() -> Self {
        Self { mean: 0.0, variance: 1.0, count: 1e-24 }
    }
}

impl RunningMoments {
    /// Takes a batch of scores in.
    pub fn update(&mut self, scores: &[f64]) {
        if scores.is_empty() {
            return;
        }
        let count = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / count;
        let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count;
        let delta = mean - self.mean;
        let total = self.count + count;
        let sum = self.variance * self.count + variance * count + delta * delta * self.count * count / total;
        self.mean += delta * count / total;
        self.variance = sum / total;
        self.count = total;
    }

    /// The unbiased deviation.
    pub fn deviation(&self) -> f64 {
        (self.variance * self.count / (self.count - 1.0).max(1.0)).sqrt()
    }

    /// A score with the mean taken off, in deviations.
    pub fn normalise(&self, score: f64) -> f64 {
        (score - self.mean) / (self.deviation() + 1e-8)
    }
}
