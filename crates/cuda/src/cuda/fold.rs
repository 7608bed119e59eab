//! `W + B A` by cuBLAS: all layers in one product that is added to a copy of W.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cublas::sys::cublasOperation_t::CUBLAS_OP_N;
use candle_core::cuda_backend::cudarc::cublas::{Gemm, GemmConfig, StridedBatchedConfig};
use candle_core::{CudaStorage, Result, Shape, bail};
use half::bf16;

use super::{Operand, view};
use crate::fold::Sizes;

pub(crate) fn fold(w: Operand<'_>, b: Operand<'_>, a: Operand<'_>) -> Result<(CudaStorage, Shape)> {
    let Sizes { layers, out, input, rank } = Sizes::of(w.1, b.1, a.1)?;
    let (device, shape) = (w.0.device(), w.1.shape().clone());
    let (w, b, a) = (view::<bf16>(w)?, view::<bf16>(b)?, view::<bf16>(a)?);
    let values = layers * out * input;
    // SAFETY: the copy below writes all of it, in the same stream as everything that reads it.
    let mut folded = unsafe { device.alloc::<bf16>(values) }?;
    if values > 0 {
        device.memcpy_dtod(&w, &mut folded)?;
    }
    if values > 0 && rank > 0 {
        let size = |n: usize| i32::try_from(n).map_err(|_| candle_core::Error::msg("a matrix too large for cuBLAS"));
        let (m, n, k) = (size(input)?, size(out)?, size(rank)?);
        // cuBLAS counts by columns: what is row-major here is transposed there, and (B A)ᵀ = Aᵀ Bᵀ.
        let one = bf16::ONE;
        let gemm = GemmConfig {
            transa: CUBLAS_OP_N,
            transb: CUBLAS_OP_N,
            m,
            n,
            k,
            alpha: one,
            lda: m,
            ldb: k,
            beta: one,
            ldc: m,
        };
        let config = StridedBatchedConfig {
            gemm,
            batch_size: size(layers)?,
            stride_a: (rank * input) as i64,
            stride_b: (out * rank) as i64,
            stride_c: (out * input) as i64,
        };
        if a.len() != layers * rank * input || b.len() != layers * out * rank {
            bail!("factors of {} and {} values for {layers} layers", a.len(), b.len());
        }
        // SAFETY: the sizes and strides are those of the three buffers, whose lengths were compared.
        unsafe { device.cublas_handle().gemm_strided_batched(config, &a, &b, &mut folded) }.w()?;
    }
    Ok((CudaStorage::wrap_cuda_slice(folded, device.clone()), shape))
}
