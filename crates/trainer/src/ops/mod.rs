//! The differentiable operations of the training forward: one entry each, computed by the project's kernels on the CPU and by
//! candle's operations elsewhere.
//!
//! Candle keeps the whole graph and computes gradients of frozen operands too, and its fused RMS norm, RoPE and
//! softmax have no backward. Each operation here returns the gradient of its activations alone, so a frozen weight
//! never gets one, and recomputes what is cheap to recompute instead of keeping it. Both ways of computing do so, and agree
//! but for rounding; all tensors are f32.

mod attention;
mod frozen;
mod graft;
mod kernels;
mod rope;
mod tensors;

use candle_core::{Result, Tensor, bail};

pub use attention::Attention;
pub use frozen::Frozen;
use frozen::Held;
pub(crate) use graft::graft3;
pub(crate) use kernels::{compute, dot};
pub use rope::Rope;

use crate::place::Place;

/// Multiplies `x` (rows x in) by the frozen `weight` W (out x in): `x W^T`, rows x out. The backward is `grad_x = grad_y W`.
///
/// # Errors
/// Shapes that do not fit.
pub fn frozen_linear(x: &Tensor, weight: &Frozen) -> Result<Tensor> {
    match weight.held() {
        Held::Packed(weight) => kernels::linear(x, weight),
        Held::Tensor(weight) => tensors::linear(x, weight),
    }
}

/// RMS normalisation of the rows of `x` (rows x width) with the frozen `weight` (width):
/// `y_i = w_i x_i / sqrt(mean(x^2) + eps)` (Zhang and Sennrich, arXiv 1910.07467).
///
/// # Errors
/// Shapes that do not fit.
pub fn rms_norm(place: &Place, x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    match place.kernels() {
        Some(_) => kernels::rms_norm(x, weight, eps),
        None => tensors::rms_norm(x, weight, eps),
    }
}

/// SwiGLU over a fused projection, `gate_up` (rows x 2n; the first n columns are the gate) to rows x n:
/// `y = silu(gate) . up`, `silu(z) = z / (1 + e^-z)` (Shazeer, arXiv 2002.05202).
///
/// # Errors
/// An odd width.
pub fn swiglu(place: &Place, gate_up: &Tensor) -> Result<Tensor> {
    match place.kernels() {
        Some(_) => kernels::swiglu(gate_up),
        None => tensors::swiglu(gate_up),
    }
}

/// `log softmax(hidden W^T)[target]` for every row of `hidden` (rows x width) over the frozen `head` W (vocabulary x width): a
/// tensor of `rows` values. The softmax over the vocabulary is never kept: the backward computes the logits again, some rows
/// at a time.
///
/// # Errors
/// As many targets as rows are needed, each below the vocabulary.
pub fn token_log_prob(hidden: &Tensor, head: &Frozen, targets: &[u32]) -> Result<Tensor> {
    let ((rows, width), vocabulary) = (hidden.dims2()?, head.out());
    if width != head.input() {
        bail!("token-log-prob: {width} values a row for a head of {}", head.input());
    }
    if rows != targets.len() || targets.iter().any(|&target| target as usize >= vocabulary) {
        bail!("token-log-prob: {} targets for {rows} rows over {vocabulary} tokens", targets.len());
    }
    match head.held() {
        Held::Packed(head) => kernels::token_log_prob(hidden, head, targets),
        Held::Tensor(head) => tensors::token_log_prob(hidden, head, targets),
    }
}

/// The elements of a tensor as a vector on the CPU, in row-major order.
pub(crate) fn to_vec(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}
