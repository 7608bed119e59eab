//! Launching the kernels over rows: `soup_gate` and `soup_feed`.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaView, DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CudaStorage, DType, Layout, Result, Shape, bail};
use half::bf16;

use super::{Operand, grid, kernel, view, wide};
use crate::feed::sizes;
use crate::gate::Gate;

pub(crate) fn gate(
    gate: &Gate,
    z: Operand<'_>,
    mixes: Operand<'_>,
    columns: Operand<'_>,
) -> Result<(CudaStorage, Shape)> {
    let (rows, width) = gate.sizes(z.1, mixes.1, columns.1)?;
    let tables = Tables { mixes: view(mixes)?, columns: view(columns)?, policies: gate.policies as u32 };
    let u = match z.0.dtype() {
        DType::BF16 => gated::<bf16>(z, &tables, [rows, width])?,
        DType::F32 => gated::<f32>(z, &tables, [rows, width])?,
        other => bail!("ranks of {other:?}: f32 and bf16 are possible"),
    };
    Ok((u, Shape::from((rows, width))))
}

struct Tables<'a> {
    mixes: CudaView<'a, f32>,
    columns: CudaView<'a, u32>,
    policies: u32,
}

fn gated<T: CudaDType + DeviceRepr>(z: Operand<'_>, tables: &Tables<'_>, shape: [usize; 2]) -> Result<CudaStorage> {
    let (device, values, view) = (z.0.device(), shape[0] * shape[1], view::<T>(z)?);
    let (stream, function) = (device.cuda_stream(), kernel(device, "soup_gate")?);
    // SAFETY: the launch below writes all of it, in the same stream as everything that reads it.
    let mut u = unsafe { device.alloc::<T>(values) }?;
    if values > 0 {
        let (wide, [rows, width]) = (wide::<T>(), shape.map(|n| n as u32));
        let mut launch = stream.launch_builder(&function);
        launch.arg(&mut u).arg(&view).arg(&tables.mixes).arg(&tables.columns);
        launch.arg(&wide).arg(&rows).arg(&width).arg(&tables.policies);
        // SAFETY: the kernel's parameters in their order and types, of the sizes that `Gate::sizes` compared; `Ranks::new`
        // made the table, so that it names columns and policies that there are.
        unsafe { launch.launch(grid(values)) }.w()?;
    }
    Ok(CudaStorage::wrap_cuda_slice(u, device.clone()))
}

pub(crate) fn feed(x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (rows, width) = sizes(layout)?;
    let y = match x.dtype() {
        DType::BF16 => fed::<bf16>((x, layout), [rows, width])?,
        DType::F32 => fed::<f32>((x, layout), [rows, width])?,
        other => bail!("projections of {other:?}: f32 and bf16 are possible"),
    };
    Ok((y, Shape::from((rows, width))))
}

fn fed<T: CudaDType + DeviceRepr>(x: Operand<'_>, shape: [usize; 2]) -> Result<CudaStorage> {
    let (device, values, view) = (x.0.device(), shape[0] * shape[1], view::<T>(x)?);
    let (stream, function) = (device.cuda_stream(), kernel(device, "soup_feed")?);
    // SAFETY: the launch below writes all of it, in the same stream as everything that reads it.
    let mut y = unsafe { device.alloc::<T>(values) }?;
    if values > 0 {
        let (wide, [rows, width]) = (wide::<T>(), shape.map(|n| n as u32));
        let mut launch = stream.launch_builder(&function);
        launch.arg(&mut y).arg(&view).arg(&wide).arg(&rows).arg(&width);
        // SAFETY: the kernel's parameters in their order and types; `x` holds twice as many values as `y`.
        unsafe { launch.launch(grid(values)) }.w()?;
    }
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}
