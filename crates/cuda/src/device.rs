//! Finding a GPU.

use candle_core::Device;

/// What is known of an open GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// As its driver calls it.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (i32, i32),
    /// All of its memory, in bytes.
    pub memory: u64,
    /// What of it is free now, in bytes.
    pub free: u64,
}

/// Why there is no such GPU.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Built without the feature.
    #[error("this build has no CUDA: it was made without the feature `cuda`")]
    NotBuilt,
    /// No driver, or one that does not work.
    #[error("no CUDA driver: {0}")]
    NoDriver(String),
    /// A number that no GPU has.
    #[error("there is no cuda:{index}: this machine has {count}")]
    NoSuchDevice {
        /// The number that was asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// It is there and cannot be used.
    #[error("cuda:{index} cannot be used: {reason}")]
    Unusable {
        /// Its number.
        index: usize,
        /// What the driver says.
        reason: String,
    },
}

/// Opens a GPU by its number.
///
/// # Errors
/// When there is none, none of this number, or none in this build.
#[cfg(feature = "cuda")]
pub fn open(index: usize) -> Result<(Device, Facts), DeviceError> {
    use candle_core::cuda_backend::cudarc::driver::CudaContext;

    let count = CudaContext::device_count().map_err(|e| DeviceError::NoDriver(first_line(&e)))?;
    let count = usize::try_from(count).unwrap_or(0);
    if index >= count {
        return Err(DeviceError::NoSuchDevice { index, count });
    }
    let unusable = |e: &dyn std::fmt::Display| DeviceError::Unusable { index, reason: first_line(e) };
    let device = Device::new_cuda(index).map_err(|e| unusable(&e))?;
    let context = device.as_cuda_device().map_err(|e| unusable(&e))?.cuda_stream().context().clone();
    let (free, memory) = context.mem_get_info().map_err(|e| unusable(&e))?;
    let name = context.name().map_err(|e| unusable(&e))?;
    let capability = context.compute_capability().map_err(|e| unusable(&e))?;
    Ok((device, Facts { name, capability, memory: memory as u64, free: free as u64 }))
}

/// Opens a GPU by its number.
///
/// # Errors
/// This build has none.
#[cfg(not(feature = "cuda"))]
pub fn open(_index: usize) -> Result<(Device, Facts), DeviceError> {
    Err(DeviceError::NotBuilt)
}

/// Errors of candle may carry a backtrace behind their first line.
#[cfg(feature = "cuda")]
fn first_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
