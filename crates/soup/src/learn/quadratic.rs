//! Small symmetric matrices, row by row, and the nearest point of the simplex under one.

use crate::rules::project;

/// `M v`
pub(super) fn times(matrix: &[f64], v: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(v.len()).map(|row| dot(row, v)).collect()
}

pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// The inverse of a positive definite matrix of `n` rows, by Gauss and Jordan; `None` when it is not one.
fn inverse(matrix: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut left = matrix.to_vec();
    let mut right = identity(n);
    for pivot in 0..n {
        let scale = left[pivot * n + pivot];
        if !(scale > 0.0 && scale.is_finite()) {
            return None;
        }
        for column in 0..n {
            left[pivot * n + column] /= scale;
            right[pivot * n + column] /= scale;
        }
        for row in (0..n).filter(|row| *row != pivot) {
            let factor = left[row * n + pivot];
            for column in 0..n {
                left[row * n + column] -= factor * left[pivot * n + column];
                right[row * n + column] -= factor * right[pivot * n + column];
            }
        }
    }
    Some(right)
}

fn identity(n: usize) -> Vec<f64> {
    (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect()
}

/// The likeliest point of the simplex under a normal distribution on the plane Σ w = 1 with `mean` and `covariance`, whose
/// rows sum to 0: minimises `(w − mean)ᵀ S⁺ (w − mean)` over w ≥ 0, Σ w = 1, by accelerated projected gradients.
pub(super) fn on_simplex(mean: &[f64], covariance: &[f64]) -> Vec<f64> {
    let n = mean.len();
    let (lower, upper) = (vec![0.0; n], vec![1.0; n]);
    if mean.iter().all(|m| *m >= 0.0) {
        return mean.to_vec();
    }
    let trace: f64 = (0..n).map(|i| covariance[i * n + i]).sum();
    let nearest = |v: &[f64]| project(v, &lower, &upper, 1.0);
    // On the plane the inverse of S + c 11ᵀ is that of S; a little of the identity keeps what is certain invertible.
    let eased: Vec<f64> =
        covariance.iter().zip(identity(n)).map(|(s, one)| s + trace / (n * n) as f64 + 1e-6 * trace * one).collect();
    let Some(precision) = inverse(&eased, n) else { return nearest(mean) };
    let steepest = (0..n).map(|i| precision[i * n..][..n].iter().map(|p| p.abs()).sum::<f64>()).fold(0.0, f64::max);
    let (mut point, mut ahead, mut momentum) = (nearest(mean), nearest(mean), 1.0_f64);
    for _ in 0..STEPS {
        let away: Vec<f64> = ahead.iter().zip(mean).map(|(a, m)| a - m).collect();
        let slope = times(&precision, &away);
        let moved: Vec<f64> = ahead.iter().zip(&slope).map(|(a, s)| a - s / steepest).collect();
        let next = nearest(&moved);
        let later = f64::midpoint(1.0, (1.0 + 4.0 * momentum * momentum).sqrt());
        let push = (momentum - 1.0) / later;
        ahead = next.iter().zip(&point).map(|(n, p)| n + push * (n - p)).collect();
        (point, momentum) = (next, later);
    }
    point
}

/// Steps of the descent: far more than the accuracy of a preference needs.
const STEPS: usize = 2000;
