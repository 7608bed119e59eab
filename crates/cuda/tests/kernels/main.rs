//! The kernels without a GPU: their twins against an oracle in f64, their text, compiled as C, against the twins.

#![allow(clippy::unwrap_used)]

mod attention;
mod axpy;
mod choose;
mod fold;
mod host;
mod rows;
mod staging;

use candle_core::{DType, Device, Tensor};
use half::bf16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Values between -1 and 1.
fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// The same, as bf16 holds them.
fn random_bf16(seed: u64, count: usize) -> Vec<bf16> {
    random(seed, count).into_iter().map(bf16::from_f32).collect()
}

fn tensor(values: &[bf16], shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

/// A tensor's values in f32.
fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference, over the largest of what is expected.
fn error(ours: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(ours.len(), expected.len());
    let largest = expected.iter().fold(1e-30_f64, |most, x| most.max(x.abs()));
    ours.iter().zip(expected).fold(0.0_f64, |most, (x, y)| most.max((f64::from(*x) - y).abs())) / largest
}

/// Half a unit in the last place of bf16.
const BF16: f64 = 1.0 / 256.0;
