#![allow(clippy::unwrap_used)]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Cached, Isa};

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// The oracle: one f64 sum for each output.
fn dense(x: &[f32], w: &[f32], k: usize, n: usize) -> Vec<f64> {
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    x.chunks(k).flat_map(|x| w.chunks(k).take(n).map(move |w| dot(x, w))).collect()
}

fn near(got: &[f32], wanted: &[f64], what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (g, w) in got.iter().zip(wanted) {
        assert!((f64::from(*g) - w).abs() <= 1e-5 * w.abs().max(1.0), "{what}: {g} is not {w}");
    }
}

#[test]
fn every_odd_shape_agrees_with_a_dense_sum() {
    for isa in [Isa::PORTABLE, Isa::detect()] {
        for m in [1, 2, 3, 4, 5, 16, 17] {
            for n in [1, 2, 3, 4, 95, 96, 97, 200] {
                for k in [1, 7, 8, 9, 64, 131] {
                    let (x, w) = (random(m * k, 1), random(n * k, 2));
                    let mut y = vec![f32::NAN; m * n];
                    isa.linear(&x, &w, k, &mut y, false);
                    near(&y, &dense(&x, &w, k, n), &format!("{} ({m}, {k}) x ({n}, {k})", isa.name()));
                }
            }
        }
    }
}

#[test]
fn adding_adds() {
    let (x, w) = (random(3 * 16, 1), random(5 * 16, 2));
    let mut y = vec![0.5; 15];
    Isa::detect().linear(&x, &w, 16, &mut y, true);
    let wanted: Vec<f64> = dense(&x, &w, 16, 5).iter().map(|v| v + 0.5).collect();
    near(&y, &wanted, "add");
}

#[test]
fn a_row_has_the_same_bits_in_any_batch_and_on_any_number_of_threads() {
    let (m, k, n) = (19, 577, 301);
    let (x, w) = (random(m * k, 3), random(n * k, 4));
    for isa in [Isa::PORTABLE, Isa::detect()] {
        let mut together = vec![0.0; m * n];
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool(1).install(|| isa.linear(&x, &w, k, &mut together, false));
        let mut threaded = vec![0.0; m * n];
        pool(3).install(|| isa.linear(&x, &w, k, &mut threaded, false));
        assert_eq!(together, threaded);
        for i in 0..m {
            let mut alone = vec![0.0; n];
            isa.linear(&x[i * k..(i + 1) * k], &w, k, &mut alone, false);
            assert_eq!(alone, together[i * n..(i + 1) * n]);
        }
    }
}

#[test]
fn attention_agrees_with_a_dense_softmax() {
    let (d, stride, len) = (24, 56, 37);
    let (q, keys, values) = (random(d, 5), random(stride * len, 6), random(stride * len, 7));
    let scores: Vec<f64> = (0..len)
        .map(|j| {
            let dot: f64 = (0..d).map(|c| f64::from(q[c]) * f64::from(keys[j * stride + c])).sum();
            (dot / (d as f64).sqrt()).exp()
        })
        .collect();
    let total: f64 = scores.iter().sum();
    let wanted: Vec<f64> =
        (0..d).map(|c| (0..len).map(|j| scores[j] / total * f64::from(values[j * stride + c])).sum()).collect();
    for isa in [Isa::PORTABLE, Isa::detect()] {
        let mut out = vec![f32::NAN; d];
        let kv = Cached { keys: &keys, values: &values, stride, len };
        isa.attend(&q, kv, &mut Vec::new(), &mut out);
        near(&out, &wanted, isa.name());
    }
}

#[test]
fn rms_norm_agrees_with_its_equation() {
    let (x, weight) = (random(2 * 21, 8), random(21, 9));
    for isa in [Isa::PORTABLE, Isa::detect()] {
        let mut out = vec![f32::NAN; 42];
        isa.rms_norm(&x, &weight, 1e-5, &mut out);
        for row in 0..2 {
            let x = &x[row * 21..][..21];
            let rms = (x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / 21.0 + 1e-5).sqrt();
            let wanted: Vec<f64> = x.iter().zip(&weight).map(|(x, w)| f64::from(*x) / rms * f64::from(*w)).collect();
            near(&out[row * 21..][..21], &wanted, isa.name());
        }
    }
}
