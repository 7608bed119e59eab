//! SwiGLU, row by row.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::slice;
use crate::ops::to_vec;

/// [`crate::ops::swiglu`].
///
/// # Errors
/// An odd width, or a tensor that is not f32 on the CPU.
pub(in crate::ops) fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    gate_up.apply_op1(SwiGlu)
}

struct SwiGlu;

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        if !width.is_multiple_of(2) {
            bail!("swiglu: an odd width of {width}");
        }
        let half = width / 2;
        let mut y = Vec::with_capacity(rows * half);
        for row in slice(storage, layout)?.chunks_exact(width) {
            let (gate, up) = row.split_at(half);
            y.extend(gate.iter().zip(up).map(|(z, u)| z * sigmoid(*z) * u));
        }
        Ok((CpuStorage::F32(y), (rows, half).into()))
    }

    /// `grad_up = grad_y . silu(z)`; `grad_gate = grad_y . up . s (1 + z (1 - s))` with `s = sigmoid(z)`.
    fn bwd(&self, gate_up: &Tensor, _y: &Tensor, grad_y: &Tensor) -> Result<Option<Tensor>> {
        let (_, width) = gate_up.dims2()?;
        let half = width / 2;
        let mut grads = to_vec(gate_up)?;
        let grad_y = to_vec(grad_y)?;
        for (row, grad) in grads.chunks_exact_mut(width).zip(grad_y.chunks_exact(half)) {
            let (gate, up) = row.split_at_mut(half);
            for ((z, u), g) in gate.iter_mut().zip(up).zip(grad) {
                let s = sigmoid(*z);
                let silu = *z * s;
                *z = g * *u * s * (1.0 + *z * (1.0 - s));
                *u = g * silu;
            }
        }
        Tensor::from_vec(grads, gate_up.shape(), gate_up.device()).map(Some)
    }
}
