//! Launching `soup_axpy`.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::sys::CUdeviceptr;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaStream, DevicePtr, DevicePtrMut, DeviceRepr, PushKernelArg,
};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CudaDevice, CudaStorage, DType, Layout, Result, Shape, Storage, bail};
use half::bf16;

use super::{Operand, grid, kernel, view, wide};
use crate::axpy::{Axpy, SOURCES};

/// The kernel's `struct Sources`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Sources {
    values: [CUdeviceptr; SOURCES],
    weights: [f32; SOURCES],
}

// SAFETY: the layout of the kernel's struct: pointers of 64 bits, then floats, without a gap.
unsafe impl DeviceRepr for Sources {}

/// What a launch needs besides its output.
pub(super) struct Arguments {
    sources: Sources,
    count: i32,
    toward: i32,
    length: usize,
}

impl Arguments {
    /// `terms` are at most [`SOURCES`] pointers to `length` values each, and their weights.
    pub(super) fn new(terms: impl Iterator<Item = (CUdeviceptr, f32)>, toward: bool, length: usize) -> Self {
        let mut sources = Sources { values: [0; SOURCES], weights: [0.0; SOURCES] };
        let mut count = 0;
        for ((at, to), (value, weight)) in sources.values.iter_mut().zip(&mut sources.weights).zip(terms) {
            (*at, *to) = (value, weight);
            count += 1;
        }
        Self { sources, count, toward: toward.into(), length }
    }

    /// Queues the sum in `stream`, into `out`, the address of `length` values of type T.
    ///
    /// # Safety
    /// All addresses are those of memory that lives, of `length` values, until the launch has run; nothing else writes to
    /// it meanwhile.
    pub(super) unsafe fn launch<T>(&self, stream: &CudaStream, kernel: &CudaFunction, out: CUdeviceptr) -> Result<()> {
        if self.length == 0 {
            return Ok(());
        }
        let used = &self.sources.values[..self.count as usize];
        let aligned = used.iter().chain([&out]).all(|pointer| pointer.is_multiple_of(16));
        let vectors = if aligned { self.length as u64 / 8 } else { 0 };
        let (wide, length) = (wide::<T>(), self.length as u64);
        let mut launch = stream.launch_builder(kernel);
        launch.arg(&out).arg(&self.sources).arg(&self.count).arg(&self.toward).arg(&wide).arg(&length).arg(&vectors);
        // SAFETY: the kernel's parameters in their order and types. It reads `length` values of each source, writes as many
        // to `out` and touches nothing else, with a grid of any size; the addresses are the caller's promise.
        unsafe { launch.launch(grid(self.length.div_ceil(8))) }.w()?;
        Ok(())
    }
}

pub(crate) fn axpy(sum: &Axpy<'_>, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (device, length) = (storage.device(), layout.shape().elem_count());
    let stream = device.cuda_stream();
    let sources = sum.sources();
    let mut views = Vec::with_capacity(sources.len());
    for (storage, layout) in &sources {
        match &**storage {
            Storage::Cuda(storage) if storage.device().id() == device.id() => {
                let operand: Operand<'_> = (storage, layout);
                views.push(view::<bf16>(operand)?);
            }
            _ => bail!("the tensors of a sum lie on different devices"),
        }
    }
    // These guards tell other streams when the sources were read: they outlive the launch.
    let pointers: Vec<_> = views.iter().map(|view| view.device_ptr(&stream)).collect();
    let terms = pointers.iter().map(|(pointer, _)| *pointer).zip(sum.weights());
    let arguments = Arguments::new(terms, sum.toward, length);
    let out = match sum.out {
        DType::BF16 => summed::<bf16>(device, &arguments)?,
        DType::F32 => summed::<f32>(device, &arguments)?,
        other => bail!("{other:?} is neither f32 nor bf16"),
    };
    Ok((out, layout.shape().clone()))
}

fn summed<T: CudaDType + DeviceRepr>(device: &CudaDevice, arguments: &Arguments) -> Result<CudaStorage> {
    let (stream, function) = (device.cuda_stream(), kernel(device, "soup_axpy")?);
    // SAFETY: the launch writes all of it, in the same stream as everything that reads it.
    let mut out = unsafe { device.alloc::<T>(arguments.length) }?;
    {
        let (pointer, _guard) = out.device_ptr_mut(&stream);
        // SAFETY: the sources are borrowed by the caller, `out` is ours; all have `length` values.
        unsafe { arguments.launch::<T>(&stream, &function, pointer) }?;
    }
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}
