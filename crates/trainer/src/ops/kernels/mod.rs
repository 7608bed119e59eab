//! The operations on the CPU, by the project's own kernels and by loops over f32 slices.

mod attention;
mod linear;
mod logprob;
mod norm;
mod swiglu;

pub(super) use attention::attention;
pub(crate) use attention::dot;
pub(crate) use linear::compute;
pub(super) use linear::{Packed, linear};
pub(super) use logprob::token_log_prob;
pub(super) use norm::rms_norm;
pub(super) use swiglu::swiglu;

use candle_core::{CpuStorage, Layout, Result, bail};

/// The contiguous f32 elements of an operation's argument.
fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("a trainer operation needs contiguous arguments"),
    }
}
