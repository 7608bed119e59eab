//! What computes, as the command line names it.

use std::ffi::OsString;

use clap::Args;
use tureen_engine::DeviceChoice;

use crate::error::TrainError;

/// The option of all commands that load a base to train or to answer.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct DeviceArgs {
    /// What computes: `cpu`, or a GPU by `cuda` (the first) or `cuda:N`, where this program was built with the feature.
    #[arg(long, default_value = "cpu", value_parser = parse)]
    device: DeviceChoice,
}

impl DeviceArgs {
    /// The device, which is there.
    ///
    /// # Errors
    /// A GPU that is not, or that this build cannot use.
    pub(super) fn chosen(self) -> Result<DeviceChoice, TrainError> {
        self.device.check()?;
        Ok(self.device)
    }

    /// The option for another process of this program; none says the CPU.
    pub(super) fn argument(self) -> Option<OsString> {
        match self.device {
            DeviceChoice::Cuda(index) => Some(format!("--device=cuda:{index}").into()),
            _ => None,
        }
    }
}

fn parse(name: &str) -> Result<DeviceChoice, &'static str> {
    match DeviceChoice::named(name) {
        _ if name == "cuda" => Ok(DeviceChoice::Cuda(0)),
        Some(device @ (DeviceChoice::Cpu | DeviceChoice::Cuda(_))) => Ok(device),
        _ => Err("cpu, cuda or cuda:N"),
    }
}
