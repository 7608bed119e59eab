//! Weighted sums of whole tensors: what a soup of full-weight policies is.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Storage, StorageRef, Tensor, bail};
use half::bf16;

use crate::values::{Value, rounded, values};

/// Tensors that one sum takes.
pub const SOURCES: usize = 32;

/// `Σ_k w_k x_k` over tensors of one shape and type, in f32 in their order, rounded once to `out` (f32 or bf16). With a
/// base of weight 1 in front, and changes behind it, `base + Σ_k w_k delta_k`.
///
/// # Errors
/// For none or more than [`SOURCES`] tensors, tensors that differ in shape or type, lie in pieces or are no floats; and
/// when the GPU fails. On a GPU they are bf16.
pub fn sum(terms: &[(&Tensor, f32)], out: DType) -> Result<Tensor> {
    Axpy { terms, toward: false, out }.apply()
}

/// `x_0 + Σ_{k>0} w_k (x_k - x_0)`: the weighted mean of tensors around the first one, where the weights of all sum to one.
/// Equal tensors give exactly that tensor, and one alone exactly itself. The first weight is not read.
///
/// # Errors
/// As [`sum`].
pub fn toward(terms: &[(&Tensor, f32)], out: DType) -> Result<Tensor> {
    Axpy { terms, toward: true, out }.apply()
}

/// The sum as an operation on its first tensor.
pub(crate) struct Axpy<'a> {
    pub(crate) terms: &'a [(&'a Tensor, f32)],
    pub(crate) toward: bool,
    pub(crate) out: DType,
}

impl Axpy<'_> {
    fn apply(&self) -> Result<Tensor> {
        let Some((first, others)) = self.terms.split_first() else { bail!("a sum of nothing") };
        if self.terms.len() > SOURCES {
            bail!("a sum of {} tensors: {SOURCES} are possible", self.terms.len());
        }
        let first = first.0;
        if let Some((other, _)) = others.iter().find(|(x, _)| x.shape() != first.shape() || x.dtype() != first.dtype())
        {
            bail!("{:?} {:?} is added to {:?} {:?}", other.dtype(), other.shape(), first.dtype(), first.shape());
        }
        first.apply_op1_no_bwd(self)
    }

    /// Every tensor, locked for reading.
    pub(crate) fn sources(&self) -> Vec<(StorageRef<'_>, &Layout)> {
        self.terms.iter().map(|(tensor, _)| tensor.storage_and_layout()).collect()
    }

    pub(crate) fn weights(&self) -> impl Iterator<Item = f32> {
        self.terms.iter().map(|(_, weight)| *weight)
    }

    fn compute<T: Value>(&self) -> Result<Vec<f32>> {
        let locked = self.sources();
        let sources = locked.iter().map(|(storage, layout)| of_cpu::<T>(storage, layout));
        let sources: Vec<&[T]> = sources.collect::<Result<_>>()?;
        let weights: Vec<f32> = self.weights().collect();
        Ok((0..sources[0].len()).map(|at| sum_at(self.toward, &sources, &weights, at)).collect())
    }
}

/// The twin of the kernel, for one value.
pub(crate) fn sum_at<T: Value>(toward: bool, sources: &[&[T]], weights: &[f32], at: usize) -> f32 {
    let anchor = sources[0][at].get();
    let first = if toward { anchor } else { weights[0] * anchor };
    sources.iter().zip(weights).skip(1).fold(first, |sum, (source, weight)| {
        let x = source[at].get();
        match toward {
            false => weight.mul_add(x, sum),
            // No difference leaves even the sign of a zero as it is.
            true if x == anchor => sum,
            true => weight.mul_add(x - anchor, sum),
        }
    })
}

fn of_cpu<'a, T: Value>(storage: &'a StorageRef<'_>, layout: &Layout) -> Result<&'a [T]> {
    match &**storage {
        Storage::Cpu(storage) => values(storage, layout),
        _ => bail!("the tensors of a sum lie on different devices"),
    }
}

impl CustomOp1 for Axpy<'_> {
    fn name(&self) -> &'static str {
        "soup_axpy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sums = match storage {
            CpuStorage::F32(_) => self.compute::<f32>()?,
            CpuStorage::BF16(_) => self.compute::<bf16>()?,
            _ => bail!("a sum of neither f32 nor bf16"),
        };
        Ok((rounded(sums, self.out)?, layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        crate::cuda::axpy(self, storage, layout)
    }
}
