//! Launching the kernels over keys and values: `soup_store`, `soup_scores` and `soup_mix`.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, DevicePtrMut, DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CudaStorage, DType, Layout, Result, Shape, bail};
use half::bf16;

use super::{Operand, grid, kernel, view, wide};
use crate::attention::{Sizes, store_sizes};

pub(crate) fn store(cache: (&mut CudaStorage, &Layout), x: Operand<'_>, slots: Operand<'_>) -> Result<()> {
    let sizes = store_sizes(cache.1, x.1, slots.1)?;
    match x.0.dtype() {
        DType::BF16 => stored::<bf16>(cache, x, slots, sizes),
        DType::F32 => stored::<f32>(cache, x, slots, sizes),
        other => bail!("a cache of {other:?}: f32 and bf16 are possible"),
    }
}

fn stored<T: CudaDType + DeviceRepr>(
    (cache, layout): (&mut CudaStorage, &Layout),
    x: Operand<'_>,
    slots: Operand<'_>,
    [heads, rows, dim, places]: [usize; 4],
) -> Result<()> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("the cache does not lie in one piece") };
    let (device, words) = (x.0.device(), dim * size_of::<T>() / size_of::<u32>());
    if heads * rows * words == 0 {
        return Ok(());
    }
    let (stream, function) = (device.cuda_stream(), kernel(device, "soup_store")?);
    let (x, slots) = (view::<T>(x)?, view::<u32>(slots)?);
    let mut cache = cache.as_cuda_slice_mut::<T>()?.slice_mut(start..end);
    let (to, _written) = cache.device_ptr_mut(&stream);
    let (from, _read) = x.device_ptr(&stream);
    if to % 4 != 0 || from % 4 != 0 {
        bail!("keys and values that do not begin at a word");
    }
    let ([heads, rows, dim], places) = ([heads, rows, words].map(|n| n as u32), places as u64);
    let mut launch = stream.launch_builder(&function);
    launch.arg(&to).arg(&from).arg(&slots).arg(&heads).arg(&rows).arg(&dim).arg(&places);
    // SAFETY: the kernel's parameters in their order and types, of the sizes that `store_sizes` compared. Slots are below
    // `places`: the engine takes them from its pages, of which the cache has as many.
    unsafe { launch.launch(grid((heads * rows * dim) as usize)) }.w()?;
    Ok(())
}

pub(crate) fn scores(
    scale: f32,
    q: Operand<'_>,
    keys: Operand<'_>,
    table: Operand<'_>,
) -> Result<(CudaStorage, Shape)> {
    let sizes = Sizes::of(q.1, keys.1, table.1)?;
    if q.1.dims()[2] != sizes.dim || q.0.dtype() != keys.0.dtype() {
        bail!("queries {:?} {:?} do not fit keys {:?}", q.0.dtype(), q.1.dims(), keys.1.dims());
    }
    let scores = match q.0.dtype() {
        DType::BF16 => scored::<bf16>(scale, q, keys, table, sizes)?,
        DType::F32 => scored::<f32>(scale, q, keys, table, sizes)?,
        other => bail!("queries of {other:?}: f32 and bf16 are possible"),
    };
    Ok((scores, Shape::from((sizes.queries, sizes.rows, sizes.context))))
}

fn scored<T: CudaDType + DeviceRepr>(
    scale: f32,
    q: Operand<'_>,
    keys: Operand<'_>,
    table: Operand<'_>,
    sizes: Sizes,
) -> Result<CudaStorage> {
    let device = q.0.device();
    let (stream, function) = (device.cuda_stream(), kernel(device, "soup_scores")?);
    let (q, keys, table) = (view::<T>(q)?, view::<T>(keys)?, view::<u32>(table)?);
    let count = sizes.queries * sizes.rows * sizes.context;
    // SAFETY: the launch below writes all of it, in the same stream as everything that reads it.
    let mut scores = unsafe { device.alloc::<f32>(count) }?;
    if count > 0 {
        let (a, _reads_q) = q.device_ptr(&stream);
        let (b, _reads_keys) = keys.device_ptr(&stream);
        let aligned = a % 16 == 0 && b % 16 == 0 && sizes.dim.is_multiple_of(8);
        let (wide, vectors) = (wide::<T>(), i32::from(aligned && wide::<T>() == 0));
        let [queries, heads, rows, context, dim] = numbers(sizes);
        let places = sizes.places as u64;
        let mut launch = stream.launch_builder(&function);
        launch.arg(&mut scores).arg(&a).arg(&b).arg(&table).arg(&scale).arg(&wide).arg(&vectors);
        launch.arg(&queries).arg(&heads).arg(&rows).arg(&context).arg(&dim).arg(&places);
        // SAFETY: the kernel's parameters in their order and types, of the sizes that `Sizes::of` compared. Places in the
        // table are below `places`, or none: the engine takes them from its pages.
        unsafe { launch.launch(grid(count)) }.w()?;
    }
    Ok(CudaStorage::wrap_cuda_slice(scores, device.clone()))
}

pub(crate) fn mix(shares: Operand<'_>, values: Operand<'_>, table: Operand<'_>) -> Result<(CudaStorage, Shape)> {
    let sizes = Sizes::of(shares.1, values.1, table.1)?;
    if shares.1.dims()[2] != sizes.context {
        bail!("shares {:?} do not fit a table {:?}", shares.1.dims(), table.1.dims());
    }
    let mixed = match values.0.dtype() {
        DType::BF16 => mixed::<bf16>(shares, values, table, sizes)?,
        DType::F32 => mixed::<f32>(shares, values, table, sizes)?,
        other => bail!("values of {other:?}: f32 and bf16 are possible"),
    };
    Ok((mixed, Shape::from((sizes.rows, sizes.queries * sizes.dim))))
}

fn mixed<T: CudaDType + DeviceRepr>(
    shares: Operand<'_>,
    values: Operand<'_>,
    table: Operand<'_>,
    sizes: Sizes,
) -> Result<CudaStorage> {
    let device = shares.0.device();
    let (stream, function) = (device.cuda_stream(), kernel(device, "soup_mix")?);
    let (shares, values, table) = (view::<f32>(shares)?, view::<T>(values)?, view::<u32>(table)?);
    let count = sizes.rows * sizes.queries * sizes.dim;
    // SAFETY: the launch below writes all of it, in the same stream as everything that reads it.
    let mut mixed = unsafe { device.alloc::<T>(count) }?;
    if count > 0 {
        let (wide, places) = (wide::<T>(), sizes.places as u64);
        let [queries, heads, rows, context, dim] = numbers(sizes);
        let mut launch = stream.launch_builder(&function);
        launch.arg(&mut mixed).arg(&shares).arg(&values).arg(&table).arg(&wide);
        launch.arg(&queries).arg(&heads).arg(&rows).arg(&context).arg(&dim).arg(&places);
        // SAFETY: as in `scored`; the shares are (queries, rows, context), as was compared.
        unsafe { launch.launch(grid(count)) }.w()?;
    }
    Ok(CudaStorage::wrap_cuda_slice(mixed, device.clone()))
}

fn numbers(sizes: Sizes) -> [u32; 5] {
    [sizes.queries, sizes.heads, sizes.rows, sizes.context, sizes.dim].map(|n| n as u32)
}
