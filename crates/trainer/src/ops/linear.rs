//! `y = x W^T` with a frozen `W`.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor, bail};

/// Multiplies `x` (rows x in, f32) by the frozen `weight` (out x in, f32, contiguous): rows x out.
///
/// The backward is `grad_x = grad_y W`; the weight gets no gradient.
///
/// # Errors
/// Shapes that do not fit, or tensors that are not f32 on the CPU.
pub fn frozen_linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.apply_op1(FrozenLinear { weight: weight.clone() })
}

struct FrozenLinear {
    weight: Tensor,
}

impl CustomOp1 for FrozenLinear {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, inner) = layout.shape().dims2()?;
        let (out, weight_inner) = self.weight.dims2()?;
        if inner != weight_inner {
            bail!("frozen-linear: {inner} inputs for a weight of {weight_inner}");
        }
        let (weight, weight_layout) = self.weight.storage_and_layout();
        let Storage::Cpu(weight) = &*weight else { bail!("frozen-linear runs on the CPU") };
        let y = storage.matmul(weight, (1, rows, out, inner), layout, &weight_layout.transpose(0, 1)?)?;
        Ok((y, (rows, out).into()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad_y: &Tensor) -> Result<Option<Tensor>> {
        grad_y.contiguous()?.matmul(&self.weight).map(Some)
    }
}
