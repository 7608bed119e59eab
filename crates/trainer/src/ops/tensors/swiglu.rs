//! SwiGLU over a fused projection.

use candle_core::{Result, Tensor, bail};
use candle_nn::ops::sigmoid;

use super::graft;

/// [`crate::ops::swiglu`].
///
/// With `s = sigmoid(z)` the backward is `grad_up = grad_y . z s`, `grad_gate = grad_y . up . (s + z s (1 - s))`.
pub(in crate::ops) fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    let (_, width) = gate_up.dims2()?;
    if !width.is_multiple_of(2) {
        bail!("swiglu: an odd width of {width}");
    }
    let (gate, up) = halves(&gate_up.detach())?;
    let y = (gate.silu()? * up)?;
    let values = gate_up.detach();
    graft(gate_up, y, move |grad| {
        let (gate, up) = halves(&values)?;
        let s = sigmoid(&gate)?;
        let silu = (gate * &s)?;
        let slope = (&s + (&silu * (1.0 - &s)?)?)?;
        Tensor::cat(&[((grad * up)? * slope)?, (grad * silu)?], 1)
    })
}

/// Gate and up projections, each contiguous.
fn halves(gate_up: &Tensor) -> Result<(Tensor, Tensor)> {
    let half = gate_up.dim(1)? / 2;
    Ok((gate_up.narrow(1, 0, half)?.contiguous()?, gate_up.narrow(1, half, half)?.contiguous()?))
}
