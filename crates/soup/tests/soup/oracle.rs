//! The dense truth in f64, written from the equations and from nothing else.

use crate::fixture::{Lora, Module, base_of};

/// `s B A` as a matrix, out x in, row-major.
pub(crate) fn delta(module: &Module, scale: f64) -> Vec<f64> {
    let mut delta = vec![0.0; module.out * module.input];
    for o in 0..module.out {
        for i in 0..module.input {
            let mut sum = 0.0;
            for k in 0..module.rank {
                sum += f64::from(module.b[o * module.rank + k]) * f64::from(module.a[k * module.input + i]);
            }
            delta[o * module.input + i] = scale * sum;
        }
    }
    delta
}

/// The change of one policy with the plain scale alpha / r; zeros where it has no factors.
pub(crate) fn plain_delta(lora: &Lora, name: &str) -> Vec<f64> {
    match lora.module(name) {
        Some(module) => delta(module, lora.alpha / module.rank as f64),
        None => vec![0.0; base_of(name).len()],
    }
}

/// `W + t Σ w_i D_i`
pub(crate) fn exact(name: &str, strength: f64, parts: &[(f64, Vec<f64>)]) -> Vec<f64> {
    let mut sum: Vec<f64> = base_of(name).iter().map(|v| f64::from(*v)).collect();
    for (weight, delta) in parts {
        for (sum, d) in sum.iter_mut().zip(delta) {
            *sum += strength * weight * d;
        }
    }
    sum
}

/// Within one rounding to f32 (and f64 noise).
pub(crate) fn assert_close(got: &[f32], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(*got) - expected).abs();
        let allowed = expected.abs() * 6.0e-8 + 1e-12;
        assert!(error <= allowed, "value {at}: {got} is not {expected} (off by {error:e})");
    }
}

/// Largest absolute difference.
pub(crate) fn distance(got: &[f32], other: &[f64]) -> f64 {
    got.iter().zip(other).map(|(x, y)| (f64::from(*x) - y).abs()).fold(0.0, f64::max)
}
