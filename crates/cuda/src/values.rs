//! Numbers of both types, in f32.

use candle_core::{CpuStorage, DType, Layout, Result, WithDType, bail};
use half::bf16;

/// What the twins compute with.
pub(crate) trait Value: WithDType {
    fn get(self) -> f32;
}

impl Value for f32 {
    fn get(self) -> f32 {
        self
    }
}

impl Value for bf16 {
    fn get(self) -> f32 {
        self.to_f32()
    }
}

/// The values of a tensor that lies in one piece.
pub(crate) fn values<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("the tensor does not lie in one piece") };
    Ok(&storage.as_slice::<T>()?[start..end])
}

/// Rounded to what is wanted: to the nearest, ties to even.
pub(crate) fn rounded(values: Vec<f32>, dtype: DType) -> Result<CpuStorage> {
    Ok(match dtype {
        DType::F32 => CpuStorage::F32(values),
        DType::BF16 => CpuStorage::BF16(values.into_iter().map(bf16::from_f32).collect()),
        other => bail!("{other:?} is neither f32 nor bf16"),
    })
}
