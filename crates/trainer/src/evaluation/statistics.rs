//! Intervals and correlations.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The mean of `values` with the 2.5 and 97.5 percentiles of the means of `resamples` samples drawn from them with
/// replacement (Efron 1979); all 0 for no values.
pub fn bootstrap(values: &[f64], resamples: usize, seed: u64) -> Estimate {
    if values.is_empty() {
        return Estimate { mean: 0.0, low: 0.0, high: 0.0 };
    }
    let count = values.len();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut resample = || (0..count).map(|_| values[rng.random_range(0..count)]).sum::<f64>() / count as f64;
    let mut means: Vec<f64> = (0..resamples).map(|_| resample()).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((means.len() - 1) as f64 * share).round() as usize];
    Estimate { mean: values.iter().sum::<f64>() / count as f64, low: at(0.025), high: at(0.975) }
}

/// The same for values that come in clusters, such as several answers to one prompt: the mean of the clusters' means, and
/// clusters are what is resampled, since values of one resemble each other (Davison and Hinkley 1997, section 3.8).
pub fn clustered_bootstrap(clusters: &[Vec<f64>], resamples: usize, seed: u64) -> Estimate {
    let means = clusters.iter().map(|values| values.iter().sum::<f64>() / values.len().max(1) as f64);
    bootstrap(&means.collect::<Vec<_>>(), resamples, seed)
}

/// Spearman's rank correlation of `x` and `y`: Pearson's of their ranks, equal values sharing the mean of theirs. 0 where
/// one of them never changes.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    let (x, y) = (ranks(x), ranks(y));
    let mean = (x.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let spread = (product(&x, &x) * product(&y, &y)).sqrt();
    if spread > 0.0 { product(&x, &y) / spread } else { 0.0 }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count() as f64;
        let equal = values.iter().filter(|other| *other == value).count() as f64;
        below + (equal + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}
