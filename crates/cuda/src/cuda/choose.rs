//! Launching `soup_choose`.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CudaStorage, DType, Result, Shape, bail};
use half::bf16;

use super::{BLOCKS, CHOOSE, Operand, kernel_of, view, wide};
use crate::choose::{Choose, sizes};

/// Of a block: as many as kernels/choose.cu has room for.
const THREADS: u32 = 1024;

pub(crate) fn choose(
    operation: &Choose,
    logits: Operand<'_>,
    orders: Operand<'_>,
    changes: Operand<'_>,
) -> Result<(CudaStorage, Shape)> {
    match logits.0.dtype() {
        DType::BF16 => chosen::<bf16>(operation, logits, orders, changes),
        DType::F32 => chosen::<f32>(operation, logits, orders, changes),
        other => bail!("logits of {other:?}: f32 and bf16 are possible"),
    }
}

fn chosen<T: CudaDType + DeviceRepr>(
    operation: &Choose,
    logits: Operand<'_>,
    orders: Operand<'_>,
    changes: Operand<'_>,
) -> Result<(CudaStorage, Shape)> {
    let (rows, vocabulary) = sizes(logits.1, orders.1, changes.1)?;
    let (device, shape) = (logits.0.device(), Shape::from((rows, 4)));
    let (stream, function) = (device.cuda_stream(), kernel_of(&CHOOSE, device, "soup_choose")?);
    let (values, orders, changes) = (view::<T>(logits)?, view::<u32>(orders)?, view::<u32>(changes)?);
    // SAFETY: the launch below writes all of it, in the same stream as everything that reads it.
    let mut chosen = unsafe { device.alloc::<u32>(4 * rows) }?;
    // SAFETY: the launch below writes what it reads of it. One value where no row needs a copy.
    let mut copies = unsafe { device.alloc::<f32>((operation.copies * vocabulary).max(1)) }?;
    if rows > 0 {
        let (wide, [rows, vocabulary]) = (wide::<T>(), [rows, vocabulary].map(|n| n as u32));
        let blocks = rows.min(BLOCKS as u32);
        let config = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
        let mut launch = stream.launch_builder(&function);
        launch.arg(&mut chosen).arg(&mut copies).arg(&values).arg(&orders).arg(&changes);
        launch.arg(&wide).arg(&rows).arg(&vocabulary);
        // SAFETY: the kernel's parameters in their order and types, of the sizes that `sizes` compared. `Choices` made the
        // tables: their places are those of its changes and copies, and its tokens are below the vocabulary, as was compared.
        unsafe { launch.launch(config) }.w()?;
    }
    Ok((CudaStorage::wrap_cuda_slice(chosen, device.clone()), shape))
}
