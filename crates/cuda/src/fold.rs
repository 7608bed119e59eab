//! Low-rank changes written into weights.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use half::bf16;

use crate::values::{Value, rounded, values};

/// `W + B A`: weights (out, in), B (out, r) and A (r, in), or as many of each in front as there are layers of that shape.
/// With `B = [w_1 s_1 B_1, w_2 s_2 B_2, ...]` and `A = [A_1; A_2; ...]` that is `W + Σ_k w_k s_k B_k A_k`. Sums are in f32
/// and rounded once.
///
/// # Errors
/// When shapes or types do not fit each other, and when the GPU fails. On a GPU all are bf16.
pub fn fold(w: &Tensor, b: &Tensor, a: &Tensor) -> Result<Tensor> {
    w.apply_op3_no_bwd(b, a, &Fold)
}

pub(crate) struct Fold;

/// Sizes of a fold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) layers: usize,
    pub(crate) out: usize,
    pub(crate) input: usize,
    pub(crate) rank: usize,
}

impl Sizes {
    pub(crate) fn of(w: &Layout, b: &Layout, a: &Layout) -> Result<Self> {
        let (out, input, rank) = match (w.dims(), b.dims(), a.dims()) {
            ([.., out, input], [.., b_out, rank], [.., a_rank, a_input])
                if (out, input, rank) == (b_out, a_input, a_rank) =>
            {
                (*out, *input, *rank)
            }
            _ => bail!("B {:?} A {:?} is added to {:?}", b.dims(), a.dims(), w.dims()),
        };
        let in_front = |l: &Layout| l.dims()[..l.dims().len() - 2].to_vec();
        let layers = in_front(w);
        if layers.len() > 1 || in_front(b) != layers || in_front(a) != layers {
            bail!("B {:?} A {:?} is added to {:?}", b.dims(), a.dims(), w.dims());
        }
        Ok(Self { layers: layers.first().copied().unwrap_or(1), out, input, rank })
    }
}

/// The twin: each value of W, then the ranks in their order.
fn compute<T: Value>(sizes: Sizes, w: &[T], b: &[T], a: &[T]) -> Vec<f32> {
    let Sizes { layers, out, input, rank } = sizes;
    let mut sums: Vec<f32> = w.iter().map(|w| w.get()).collect();
    for layer in 0..layers {
        let sums = &mut sums[layer * out * input..][..out * input];
        let (b, a) = (&b[layer * out * rank..][..out * rank], &a[layer * rank * input..][..rank * input]);
        for row in 0..out {
            let sums = &mut sums[row * input..][..input];
            for k in 0..rank {
                let factor = b[row * rank + k].get();
                let a = &a[k * input..][..input];
                sums.iter_mut().zip(a).for_each(|(sum, a)| *sum = factor.mul_add(a.get(), *sum));
            }
        }
    }
    sums
}

impl CustomOp3 for Fold {
    fn name(&self) -> &'static str {
        "lora_fold"
    }

    fn cpu_fwd(
        &self,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
        a: &CpuStorage,
        a_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::of(w_layout, b_layout, a_layout)?;
        let folded = match w {
            CpuStorage::F32(_) => {
                let folded = compute::<f32>(sizes, values(w, w_layout)?, values(b, b_layout)?, values(a, a_layout)?);
                rounded(folded, candle_core::DType::F32)?
            }
            CpuStorage::BF16(_) => {
                let folded = compute::<bf16>(sizes, values(w, w_layout)?, values(b, b_layout)?, values(a, a_layout)?);
                rounded(folded, candle_core::DType::BF16)?
            }
            _ => bail!("weights of neither f32 nor bf16"),
        };
        Ok((folded, w_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        w: &CudaStorage,
        w_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
        a: &CudaStorage,
        a_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        crate::cuda::fold((w, w_layout), (b, b_layout), (a, a_layout))
    }
}
