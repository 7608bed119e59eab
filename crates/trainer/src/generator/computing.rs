//! What answers are computed with.

use tureen_engine::{DeviceChoice, Precision};

/// The engine's device, and what it computes in where it has the choice.
#[derive(Clone, Copy, Debug)]
pub struct Computing {
    /// Where.
    pub device: DeviceChoice,
    /// The number format on the CPU; a GPU computes in bf16, whatever this says, and its twin in f32.
    pub precision: Precision,
}

impl Computing {
    /// The number format that it comes to. Another one answers otherwise, so what is kept of answers names it.
    pub(crate) fn effective(self) -> Precision {
        match self.device {
            DeviceChoice::Cpu => self.precision,
            DeviceChoice::Twin | DeviceChoice::Failing(_) => Precision::F32,
            DeviceChoice::Cuda(_) | DeviceChoice::Auto => Precision::Bf16,
        }
    }

    /// Whether log-probabilities are the trainer's own but for rounding in f32.
    pub(crate) fn is_exact(self) -> bool {
        self.effective() == Precision::F32
    }
}
