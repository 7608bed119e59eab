//! Normal distributions on the plane Σ w = 1, given that no weight is below 0.
//!
//! Expectation propagation (Minka 2001; Cunningham, Hennig and Lacoste-Julien 2011, arXiv 1111.6832): each bound `w_i ≥ 0`
//! is stood for by a normal factor of one weight, `exp(−½ a_i w_i² + b_i w_i)`, such that with the other factors in place it
//! gives the weight the mean and variance that the bound itself would.

use super::half_line::{above, with_mean};
use super::matrix::{add_outer, times};

/// Mean and covariance of the normal distribution with `mean` and `covariance`, whose rows sum to 0, within the simplex.
pub(super) fn within(mean: &[f64], covariance: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let n = mean.len();
    let (mut mean, mut covariance) = (mean.to_vec(), covariance.to_vec());
    let mut factors = vec![Factor::default(); n];
    for _ in 0..SWEEPS {
        let mut worst = 0.0_f64;
        for i in 0..n {
            let (at, variance) = (mean[i], covariance[i * n + i]);
            let Some(without) = factors[i].without(variance) else { continue };
            let bounded = Factor::bounding((at / variance - factors[i].pull) / without, without);
            let (precision, pull) = (bounded.precision - factors[i].precision, bounded.pull - factors[i].pull);
            let column = covariance[i * n..][..n].to_vec();
            let share = 1.0 / (1.0 + precision * variance);
            let step = (pull - precision * at) * share;
            mean.iter_mut().zip(&column).for_each(|(m, c)| *m += step * c);
            add_outer(&mut covariance, -precision * share, &column);
            worst = worst.max((mean[i] - at).abs());
            factors[i] = bounded;
        }
        if worst < ENOUGH {
            break;
        }
    }
    mean.iter_mut().for_each(|weight| *weight = weight.max(0.0));
    let sum: f64 = mean.iter().sum();
    mean.iter_mut().for_each(|weight| *weight /= sum);
    (mean, covariance)
}

/// The mean of the normal distribution with `covariance` that has the mean `wanted` [`within`] the simplex. `wanted` is in
/// its inside.
pub(super) fn centred(covariance: &[f64], wanted: &[f64]) -> Vec<f64> {
    let n = wanted.len();
    let mut within = covariance.to_vec();
    let mut factors = vec![Factor::default(); n];
    for _ in 0..SWEEPS {
        let mut worst = 0.0_f64;
        for i in 0..n {
            let variance = within[i * n + i];
            let Some(without) = factors[i].without(variance) else { continue };
            // Without the bound the weight has the mean with which the bound makes it the wanted one.
            let scale = without.sqrt();
            let bounded = Factor::bounding(with_mean(wanted[i] * scale) / scale, without);
            let precision = bounded.precision - factors[i].precision;
            let column = within[i * n..][..n].to_vec();
            add_outer(&mut within, -precision / (1.0 + precision * variance), &column);
            worst = worst.max(precision.abs() * variance);
            factors[i] = bounded;
        }
        if worst < ENOUGH {
            break;
        }
    }
    let back: Vec<f64> = factors.iter().zip(wanted).map(|(f, w)| f.precision * w - f.pull).collect();
    wanted.iter().zip(times(covariance, &back)).map(|(w, back)| w + back).collect()
}

/// `exp(−½ precision w² + pull w)`
#[derive(Debug, Clone, Copy, Default)]
struct Factor {
    precision: f64,
    pull: f64,
}

impl Factor {
    /// The precision of a weight of this variance without this factor. `None` when the weight is certain anyway.
    fn without(self, variance: f64) -> Option<f64> {
        let precision = 1.0 / variance - self.precision;
        (variance > CERTAIN && precision > 0.0).then_some(precision)
    }

    /// What stands for the bound of a weight that has this mean and precision without it.
    fn bounding(mean: f64, precision: f64) -> Self {
        let scale = precision.sqrt();
        let (bounded, variance) = above(mean * scale);
        let after = precision / variance;
        Self { precision: (after - precision).max(0.0), pull: after * bounded / scale - precision * mean }
    }
}

/// Variances below it are rounding.
const CERTAIN: f64 = 1e-16;

/// Five to twenty are usual.
const SWEEPS: usize = 60;

/// A change of a weight, or a relative one of a variance, that is not worth another sweep.
const ENOUGH: f64 = 1e-10;
