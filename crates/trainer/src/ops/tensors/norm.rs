//! RMS normalisation.

use candle_core::{D, Result, Tensor};

use super::graft;

/// [`crate::ops::rms_norm`].
///
/// With `n = x r`, `r = 1/sqrt(mean(x^2) + eps)` and `g = w . grad_y` the backward is `grad_x = r (g - n mean(g . n))`.
pub(in crate::ops) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let (values, weight) = (x.detach(), weight.detach());
    let y = candle_nn::ops::rms_norm(&values, &weight, eps as f32)?;
    graft(x, y, move |grad| {
        let inverse = (values.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
        let normed = values.broadcast_mul(&inverse)?;
        let scaled = grad.broadcast_mul(&weight)?;
        let mean = (&scaled * &normed)?.mean_keepdim(D::Minus1)?;
        (scaled - normed.broadcast_mul(&mean)?)?.broadcast_mul(&inverse)
    })
}
