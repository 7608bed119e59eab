//! The differentiable operations of the training forward, as candle custom operations.
//!
//! Candle keeps the whole graph and computes gradients of frozen operands too, and its fused RMS norm, RoPE and
//! softmax have no backward. Each operation here returns the gradient of its activations alone, so a frozen weight
//! never gets one, and recomputes what is cheap to recompute instead of keeping it.

mod attention;
mod linear;
mod logprob;
mod norm;
mod rope;
mod swiglu;

pub use attention::attention;
pub(crate) use attention::dot;
pub use linear::{Frozen, compute, frozen_linear};
pub use logprob::token_log_prob;
pub use norm::rms_norm;
pub use rope::Rope;
pub use swiglu::swiglu;

use candle_core::{CpuStorage, Layout, Result, Tensor, bail};

/// The contiguous f32 elements of an operation's argument.
fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("a trainer operation needs contiguous arguments"),
    }
}

/// The elements of a tensor as a vector, in row-major order.
pub(crate) fn to_vec(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}
