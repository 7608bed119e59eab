//! Where training computes.

use std::sync::Arc;

use candle_core::Device;
use tureen_engine::DeviceChoice;
use tureen_kernels::Compute;

use crate::error::TrainError;
use crate::ops::compute;

/// Where training computes, and with what: on the CPU with the project's own kernels, elsewhere with candle's operations.
///
/// A base holds the place that its weights are in; everything that is computed with it asks the base.
#[derive(Clone)]
pub struct Place {
    choice: DeviceChoice,
    device: Device,
    /// `None` where candle computes.
    kernels: Option<Arc<Compute>>,
}

impl Place {
    /// Opens a device. [`DeviceChoice::Twin`] is what runs on a GPU, on candle's CPU device.
    ///
    /// # Errors
    /// A GPU that is not there or that this build cannot use, or a system that gives no more threads.
    pub fn open(choice: DeviceChoice) -> Result<Self, TrainError> {
        let on = |device| Self { choice, device, kernels: None };
        match choice {
            DeviceChoice::Cpu => Ok(Self { kernels: Some(compute()?), ..on(Device::Cpu) }),
            DeviceChoice::Twin | DeviceChoice::Failing(_) => Ok(on(Device::Cpu)),
            DeviceChoice::Cuda(index) => Ok(on(tureen_cuda::open(index)?.0)),
            DeviceChoice::Auto => Self::open(DeviceChoice::Cuda(0)).or_else(|_| Self::open(DeviceChoice::Cpu)),
        }
    }

    /// What an engine beside the training takes.
    pub fn choice(&self) -> DeviceChoice {
        self.choice
    }

    /// Where tensors lie.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The project's kernels, where they compute.
    pub(crate) fn kernels(&self) -> Option<&Arc<Compute>> {
        self.kernels.as_ref()
    }
}
