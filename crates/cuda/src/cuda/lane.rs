//! A lane on a GPU: pinned buffers, their counterparts there, and a stream.

use std::sync::Arc;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC;
use candle_core::cuda_backend::cudarc::driver::{
    CudaEvent, CudaFunction, CudaSlice, CudaStream, DevicePtr, DevicePtrMut, PinnedHostSlice,
};
use candle_core::{CudaDevice, Result};
use half::bf16;

use super::axpy::Arguments;
use super::kernel;
use crate::staging::{Lane, Piece};

/// Two lanes that hold `capacity` values each, and sums of half as many.
pub(crate) fn lanes(device: &CudaDevice, capacity: usize) -> Result<[Box<dyn Lane>; 2]> {
    Ok([Box::new(CudaLane::new(device, capacity)?), Box::new(CudaLane::new(device, capacity)?)])
}

/// Everything of a lane is queued in its own stream, one after the other; `done` is behind the last of it.
struct CudaLane {
    stream: Arc<CudaStream>,
    function: CudaFunction,
    done: CudaEvent,
    /// Written by the host alone, from its first byte to its last: caches would only be in the way of its copies.
    input: PinnedHostSlice<bf16>,
    output: PinnedHostSlice<f32>,
    device_input: CudaSlice<bf16>,
    device_output: CudaSlice<f32>,
    /// Values of the last sum.
    length: usize,
}

impl CudaLane {
    fn new(device: &CudaDevice, capacity: usize) -> Result<Self> {
        let context = device.cuda_stream().context().clone();
        let stream = context.new_stream().w()?;
        let done = context.new_event(Some(CU_EVENT_BLOCKING_SYNC)).w()?;
        let function = kernel(device, "soup_axpy")?;
        // SAFETY: it is read only where the reader wrote before, and the rest of it by nobody.
        let mut input = unsafe { context.alloc_pinned::<bf16>(capacity) }.w()?;
        // SAFETY: filled before it is first read, on the next line.
        let mut output = unsafe { context.alloc_pinned_with_flags::<f32>(capacity / 2, 0) }.w()?;
        input.as_mut_slice().w()?.fill(bf16::ZERO);
        output.as_mut_slice().w()?.fill(0.0);
        let device_input = stream.alloc_zeros::<bf16>(capacity).w()?;
        let device_output = stream.alloc_zeros::<f32>(capacity / 2).w()?;
        Ok(Self { stream, function, done, input, output, device_input, device_output, length: 0 })
    }
}

impl Lane for CudaLane {
    fn input(&mut self) -> Result<&mut [bf16]> {
        self.done.synchronize().w()?;
        self.input.as_mut_slice().w()
    }

    fn start(&mut self, Piece { weights, toward, stride, length }: Piece<'_>) -> Result<()> {
        let used = stride * (weights.len() - 1) + length;
        let input = &self.input.as_slice().w()?[..used];
        self.stream.memcpy_htod(input, &mut self.device_input.slice_mut(..used)).w()?;
        {
            let (pointer, _read) = self.device_input.device_ptr(&self.stream);
            let (out, _written) = self.device_output.device_ptr_mut(&self.stream);
            let sources = (0..weights.len()).map(|k| pointer + (k * stride * size_of::<bf16>()) as u64);
            let arguments = Arguments::new(sources.zip(weights.iter().copied()), toward, length);
            // SAFETY: both buffers are this lane's, large enough (`stride` and `length` are at most a half of the input),
            // and used in its stream alone.
            unsafe { arguments.launch::<f32>(&self.stream, &self.function, out) }?;
        }
        let output = &mut self.output.as_mut_slice().w()?[..length];
        self.stream.memcpy_dtoh(&self.device_output.slice(..length), output).w()?;
        self.length = length;
        self.done.record(&self.stream).w()
    }

    fn finish(&mut self) -> Result<&[f32]> {
        self.done.synchronize().w()?;
        Ok(&self.output.as_slice().w()?[..self.length])
    }
}

impl Drop for CudaLane {
    fn drop(&mut self) {
        // Copies may still read the pinned buffers. An error leaves nothing that runs.
        let _ = self.stream.synchronize();
    }
}
