//! What one choice says about the value that it was made by.

use libm::{exp, log1p};

/// A normal factor of the value `u = d · w` in nats, `exp(−½ precision u² + pull u)`, that stands for a choice.
pub(super) struct Said {
    pub(super) precision: f64,
    pub(super) pull: f64,
}

/// What stands for a choice of `preferred` (1 clearly, 0 clearly not), whose likelihood is
/// `σ(βu)^preferred · (1 − σ(βu))^(1 − preferred)`, where u was expected to be `mean` with `variance`, which is above 0: u
/// gets the mean and the variance that the likelihood itself would give it.
pub(super) fn said(mean: f64, variance: f64, preferred: f64, beta: f64) -> Said {
    let deviation = variance.sqrt();
    // A surprise moves it by β deviations of each, but hardly further than to where it is none any more.
    let reach = TAILS + (beta * deviation).min(mean.abs() / deviation);
    let points = || (0..=STEPS).map(|i| reach * (f64::from(2 * i) / f64::from(STEPS) - 1.0));
    let height = |x: f64| {
        let z = beta * (mean + deviation * x);
        // ln(1 + e^z) without overflow.
        let soft = z.max(0.0) + log1p(exp(-z.abs()));
        preferred * z - soft - x * x / 2.0
    };
    let heights: Vec<f64> = points().map(height).collect();
    let top = heights.iter().copied().fold(f64::MIN, f64::max);
    let [mut all, mut first, mut second] = [0.0; 3];
    for (x, height) in points().zip(&heights) {
        let weight = exp(height - top);
        all += weight;
        first += weight * x;
        second += weight * x * x;
    }
    let after = first / all;
    let narrowed = (second / all - after * after).max(NARROWEST);
    let precision = ((1.0 / narrowed - 1.0) / variance).max(0.0);
    Said { precision, pull: after / (narrowed * deviation) + precision * mean }
}

/// Deviations on either side, beyond which a normal distribution has nothing.
const TAILS: f64 = 8.0;

/// The rule of trapezoids is exact to rounding for functions as smooth as this over so many.
const STEPS: u32 = 2048;

/// One choice, however surprising, leaves this much of a variance: what would leave less is between two of the steps.
const NARROWEST: f64 = 1e-4;
