//! A normal variable of variance 1, given that it is above 0.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use libm::{erfc, exp};

/// Mean and variance of a normal variable of mean `z` and variance 1, given that it is above 0.
pub(super) fn above(z: f64) -> (f64, f64) {
    let (hazard, mean) = if z > FAR {
        let hazard = exp(-z * z / 2.0) / (PI / 2.0).sqrt() / erfc(-z * FRAC_1_SQRT_2);
        (hazard, z + hazard)
    } else {
        // Laplace's continued fraction for φ(z)/Φ(z): where erfc ends and z + φ/Φ cancels, it does neither.
        let rest = (2..=TERMS).rev().fold(-z, |rest, k| f64::from(k) / rest - z);
        (1.0 / rest - z, 1.0 / rest)
    };
    (mean, (1.0 - hazard * mean).max(LEAST_VARIANCE))
}

/// The `z` of which [`above`] has this mean, which is over 0.
pub(super) fn with_mean(mean: f64) -> f64 {
    // Newton's method: the mean is convex in z and grows by the variance. From above it goes down, and never too far.
    let mut z = mean;
    for _ in 0..STEPS {
        let (over, slope) = above(z);
        let step = (over - mean) / slope;
        z -= step;
        if step.abs() < 1e-13 * (1.0 + z.abs()) {
            break;
        }
    }
    z
}

const FAR: f64 = -5.0;

/// Of the continued fraction: at [`FAR`] it is exact to the last digits with them.
const TERMS: u32 = 30;

/// About the rounding of a difference of two numbers near 1.
const LEAST_VARIANCE: f64 = 1e-15;

/// Far below, each step about doubles z: so many reach any mean that a number can be.
const STEPS: usize = 100;

#[cfg(test)]
mod tests {
    use super::{above, with_mean};

    /// Moments of `exp(−(x − z)²/2)` over x > 0 by the rule of rectangles. The factor `exp(zx)` alone is left of z far below.
    fn integrated(z: f64) -> (f64, f64) {
        let step = 1e-4 / (1.0 - z).max(1.0);
        let top = z.max(0.0);
        let weight = |x: f64| (z * x - x * x / 2.0 - (z * top - top * top / 2.0)).exp();
        let points = (0..400_000).map(|i| (f64::from(i) + 0.5) * step);
        let [mut all, mut first, mut second] = [0.0; 3];
        for x in points {
            let w = weight(x);
            all += w;
            first += w * x;
            second += w * x * x;
        }
        let mean = first / all;
        (mean, second / all - mean * mean)
    }

    #[test]
    fn moments_are_those_of_an_integral_and_the_mean_leads_back() {
        for z in [-300.0, -37.0, -5.01, -5.0, -4.99, -1.0, 0.0, 0.5, 3.0, 12.0] {
            let ((mean, variance), (m, v)) = (above(z), integrated(z));
            assert!((mean - m).abs() < 1e-6 * m && (variance - v).abs() < 1e-5 * v, "{z}: {mean} {m}, {variance} {v}");
            assert!((with_mean(mean) - z).abs() < 1e-8 * (1.0 + z * z), "{z}: {}", with_mean(mean));
        }
        assert!(above(-1e9).1 > 0.0 && above(1e9) == (1e9, 1.0));
    }
}
