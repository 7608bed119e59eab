//! RMS normalisation, row by row.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{dot, slice};
use crate::ops::to_vec;

/// [`crate::ops::rms_norm`].
///
/// # Errors
/// Shapes that do not fit, or tensors that are not f32 on the CPU.
pub(in crate::ops) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    x.apply_op1(RmsNorm { weight: to_vec(weight)?, eps: eps as f32 })
}

struct RmsNorm {
    weight: Vec<f32>,
    eps: f32,
}

impl RmsNorm {
    /// `1 / sqrt(mean(x^2) + eps)` of one row.
    fn inverse(&self, row: &[f32]) -> f32 {
        let sum: f32 = dot(row, row);
        1.0 / (sum / row.len() as f32 + self.eps).sqrt()
    }
}

impl CustomOp1 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        let width = self.weight.len();
        if layout.shape().dims().last() != Some(&width) {
            bail!("rms-norm: rows of {:?} for a weight of {width}", layout.shape());
        }
        let mut y = Vec::with_capacity(x.len());
        for row in x.chunks_exact(width) {
            let inverse = self.inverse(row);
            y.extend(row.iter().zip(&self.weight).map(|(x, w)| x * inverse * w));
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    /// With `n = x r`, `r = 1/sqrt(mean(x^2) + eps)` and `g = w . grad_y`: `grad_x = r (g - n mean(g . n))`.
    fn bwd(&self, x: &Tensor, _y: &Tensor, grad_y: &Tensor) -> Result<Option<Tensor>> {
        let width = self.weight.len();
        let (values, grads) = (to_vec(x)?, to_vec(grad_y)?);
        let mut grad_x = Vec::with_capacity(values.len());
        for (row, grad) in values.chunks_exact(width).zip(grads.chunks_exact(width)) {
            let inverse = self.inverse(row);
            let product: f32 = row.iter().zip(grad).zip(&self.weight).map(|((x, g), w)| x * g * w).sum();
            let mean = product * inverse * inverse / width as f32;
            let scaled = row.iter().zip(grad).zip(&self.weight);
            grad_x.extend(scaled.map(|((x, g), w)| inverse * (g * w - x * mean)));
        }
        Tensor::from_vec(grad_x, x.shape(), x.device()).map(Some)
    }
}
