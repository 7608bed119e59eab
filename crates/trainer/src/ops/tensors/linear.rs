//! `y = x W^T` with a frozen `W`.

use candle_core::{Result, Tensor};

use super::graft;

/// [`crate::ops::frozen_linear`].
pub(in crate::ops) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let y = x.detach().matmul(&weight.t()?)?;
    let weight = weight.clone();
    graft(x, y, move |grad| grad.matmul(&weight))
}
