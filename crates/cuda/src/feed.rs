//! The inside of the feed-forward network.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use half::bf16;

use crate::values::{Value, rounded, values};

/// `silu(x[:, :width]) ∘ x[:, width:]` of x (rows, 2 width), the packed gate and up projections: (rows, width), of its type.
///
/// # Errors
/// When `x` has another shape or neither f32 nor bf16, and when the GPU fails.
pub fn feed(x: &Tensor) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Feed)
}

struct Feed;

/// Rows, and half the width of `x`.
pub(crate) fn sizes(x: &Layout) -> Result<(usize, usize)> {
    match x.dims() {
        [rows, both] if both.is_multiple_of(2) => Ok((*rows, both / 2)),
        other => bail!("gate and up projections side by side cannot have the shape {other:?}"),
    }
}

fn compute<T: Value>(x: &[T], width: usize) -> Vec<f32> {
    let row = |row: &[T]| -> Vec<f32> {
        let (gate, up) = row.split_at(width);
        let value = |(gate, up): (&T, &T)| gate.get() / (1.0 + (-gate.get()).exp()) * up.get();
        gate.iter().zip(up).map(value).collect()
    };
    if width == 0 { Vec::new() } else { x.chunks_exact(2 * width).flat_map(row).collect() }
}

impl CustomOp1 for Feed {
    fn name(&self) -> &'static str {
        "soup_feed"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = sizes(layout)?;
        let y = match x {
            CpuStorage::F32(_) => rounded(compute(values::<f32>(x, layout)?, width), DType::F32)?,
            CpuStorage::BF16(_) => rounded(compute(values::<bf16>(x, layout)?, width), DType::BF16)?,
            _ => bail!("projections of neither f32 nor bf16"),
        };
        Ok((y, Shape::from((rows, width))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        crate::cuda::feed(x, layout)
    }
}
