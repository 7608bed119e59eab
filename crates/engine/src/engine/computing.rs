//! What computes: the CPU, or a device that has the memory for it.

use std::collections::HashSet;

use candle_core::{DType, Device};
use tureen_cuda::{Facts, Staging};
use tureen_kernels::{PageShape, Precision};
use tureen_soup::Pool;

use crate::checkpoint::Checkpoint;
use crate::device::{DeviceGates, DeviceModel, Target};
use crate::error::EngineError;
use crate::model::Model;
use crate::options::{DeviceChoice, EngineOptions};
use crate::soups::Accelerator;

/// What libraries and the driver take for themselves.
const LIBRARIES: u64 = 256 << 20;

/// A model that is ready for its weights, and what averages full-weight policies for it.
pub(super) struct Computing {
    pub(super) model: Model,
    pub(super) accelerator: Option<Accelerator>,
}

impl Computing {
    /// Opens what was chosen. Says in one line of the log what a GPU is, or with [`DeviceChoice::Auto`] why none is used.
    ///
    /// # Errors
    /// When a GPU that was asked for by number is not there, or has too little memory.
    pub(super) fn open(checkpoint: &Checkpoint, pool: &Pool, options: &EngineOptions) -> Result<Self, EngineError> {
        let opened = match options.device {
            DeviceChoice::Cpu => return Ok(Self::on_cpu(checkpoint, options)),
            DeviceChoice::Twin | DeviceChoice::Failing(_) => {
                return Self::on(Device::Cpu, None, checkpoint, pool, options);
            }
            DeviceChoice::Auto => Self::on_gpu(0, checkpoint, pool, options),
            DeviceChoice::Cuda(index) => return Self::on_gpu(index, checkpoint, pool, options),
        };
        opened.or_else(|reason| {
            tracing::info!(%reason, "no GPU is used: everything runs on the CPU");
            Ok(Self::on_cpu(checkpoint, options))
        })
    }

    fn on_cpu(checkpoint: &Checkpoint, options: &EngineOptions) -> Self {
        let model = Model::new(checkpoint.config().clone(), options.precision, options.max_context);
        Self { model, accelerator: None }
    }

    fn on_gpu(
        index: usize,
        checkpoint: &Checkpoint,
        pool: &Pool,
        options: &EngineOptions,
    ) -> Result<Self, EngineError> {
        let (device, facts) = tureen_cuda::open(index)?;
        let computing = Self::on(device, Some(&facts), checkpoint, pool, options)?;
        let Facts { name, capability: (major, minor), memory, .. } = facts;
        tracing::info!(name, capability = format!("{major}.{minor}"), memory, "serving on cuda:{index}, in bf16");
        Ok(computing)
    }

    /// On a GPU with its facts, or without them on candle's CPU device.
    fn on(
        device: Device,
        facts: Option<&Facts>,
        checkpoint: &Checkpoint,
        pool: &Pool,
        options: &EngineOptions,
    ) -> Result<Self, EngineError> {
        let config = checkpoint.config().clone();
        let (dtype, precision) = match facts {
            Some(_) => (DType::BF16, Precision::Bf16),
            None => (DType::F32, Precision::F32),
        };
        let shape = PageShape::new(config.num_hidden_layers, config.num_key_value_heads, config.head_dim, precision);
        let pages = options.memory_budget / shape.bytes_together(1) as u64;
        if let Some(facts) = facts {
            let target = Target { config: &config, device: &device, dtype };
            require(facts, target, checkpoint, pool, (options, pages * shape.bytes() as u64))?;
        }
        let failed = |e: candle_core::Error| EngineError::DeviceFailed(e.to_string());
        let context = options.max_context;
        let pages = usize::try_from(pages).unwrap_or(usize::MAX).min(u32::MAX as usize / tureen_kernels::PAGE - 1);
        let on_device = DeviceModel::new(config.clone(), device.clone(), dtype, context, pages).map_err(failed)?;
        let on_device = match options.device {
            DeviceChoice::Failing(fault) => on_device.failing(fault),
            _ => on_device,
        };
        let accelerator = match facts {
            Some(_) => Some(Accelerator::new(Staging::new(&device, Staging::LANE_BYTES).map_err(failed)?)),
            None => None,
        };
        Ok(Self { model: Model::on(on_device, config, precision, context), accelerator })
    }
}

/// Refuses a GPU whose free memory is less than all that will be in it.
fn require(
    facts: &Facts,
    target: Target<'_>,
    checkpoint: &Checkpoint,
    pool: &Pool,
    (options, kv): (&EngineOptions, u64),
) -> Result<(), EngineError> {
    let names = checkpoint.names();
    let weights = target.bytes(&names.iter().map(String::as_str).collect::<HashSet<_>>());
    let policies = DeviceGates::bytes(pool, target);
    // Pages are allocated whether they are in use or not; soups may have the whole budget while they are not.
    let soups = options.memory_budget;
    let buffers = LIBRARIES + Staging::DEVICE_BYTES + target.step_bytes(options);
    let needed = weights + policies + kv + soups + buffers;
    let Facts { name: device, free, memory, .. } = facts.clone();
    if needed <= free {
        return Ok(());
    }
    Err(EngineError::DeviceMemory { device, weights, policies, kv, soups, buffers, needed, free, memory })
}
