//! Reward models on disk: one safetensors file that names its base.

use std::collections::HashMap;
use std::path::Path;

use candle_core::Tensor;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use tureen_engine::Checkpoint;

use super::{RewardModel, Shape};
use crate::error::TrainError;
use crate::model::Base;
use crate::ops::to_vec;
use crate::state::write_atomically;

/// Largest rank that is read: the memory of a model grows with it.
const MAX_RANK: usize = 1024;

/// What the file says of its model, next to the tensors.
#[derive(Deserialize, Serialize)]
struct Header {
    base: String,
    base_sha256: String,
    r: usize,
    lora_alpha: f64,
    a_seed: u64,
    /// Bits: JSON numbers may lose the last one.
    bias: u64,
    gain: u64,
}

impl RewardModel {
    /// Writes the model to `path`.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: &Path, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let invalid = |error: &dyn std::fmt::Display| TrainError::Invalid(format!("{}: {error}", path.display()));
        let Shape { r, lora_alpha, a_seed } = self.shape;
        let header = Header {
            base: checkpoint.name().to_owned(),
            base_sha256: checkpoint.sha256().to_owned(),
            r,
            lora_alpha,
            a_seed,
            bias: self.bias.to_bits(),
            gain: self.gain.to_bits(),
        };
        let mut parts: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, var) in self.variables() {
            let bytes = to_vec(&var)?.iter().flat_map(|value| value.to_le_bytes()).collect();
            parts.push((name, var.dims().to_vec(), bytes));
        }
        let views = parts.iter().map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
        });
        let views: Vec<_> = views.collect::<Result<_, _>>().map_err(|error| invalid(&error))?;
        let json = serde_json::to_string(&header).map_err(|error| invalid(&error))?;
        let metadata = HashMap::from([("reward_model".to_owned(), json)]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| invalid(&error))?;
        write_atomically(path, &bytes)
    }

    /// Reads the model at `path` for `base`, which was loaded from `checkpoint`.
    ///
    /// # Errors
    /// A file that is no reward model, or one of another base: its rewards would mean nothing.
    pub fn read(path: &Path, base: &Base, checkpoint: &Checkpoint) -> Result<Self, TrainError> {
        let bytes = std::fs::read(path).map_err(TrainError::io(path))?;
        let invalid = |error: &dyn std::fmt::Display| TrainError::Invalid(format!("{}: {error}", path.display()));
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| invalid(&error))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| invalid(&error))?;
        let json = metadata.metadata().as_ref().and_then(|metadata| metadata.get("reward_model"));
        let json = json.ok_or_else(|| invalid(&"it is no reward model"))?;
        let Header { base: name, base_sha256, r, lora_alpha, a_seed, bias, gain } =
            serde_json::from_str(json).map_err(|error| invalid(&error))?;
        if base_sha256 != checkpoint.sha256() {
            return Err(invalid(&format!(
                "a reward model of {name} ({base_sha256}), and the base here is {} ({})",
                checkpoint.name(),
                checkpoint.sha256()
            )));
        }
        if !(1..=MAX_RANK).contains(&r) || !lora_alpha.is_finite() {
            return Err(invalid(&format!("rank {r} or alpha {lora_alpha} is out of bounds")));
        }
        let mut model = Self::new(base, Shape { r, lora_alpha, a_seed })?;
        (model.bias, model.gain) = (f64::from_bits(bias), f64::from_bits(gain));
        for (name, var) in model.variables() {
            let view = tensors.tensor(&name).map_err(|error| invalid(&error))?;
            if view.dtype() != Dtype::F32 || view.shape() != var.dims() {
                return Err(invalid(&format!("{name} has another shape than a model of rank {r}")));
            }
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let values: Vec<f32> = values.collect();
            if values.iter().chain([&(model.gain as f32), &(model.bias as f32)]).any(|value| !value.is_finite()) {
                return Err(invalid(&format!("{name} is not finite")));
            }
            var.set(&Tensor::from_vec(values, var.shape(), var.device())?)?;
        }
        Ok(model)
    }
}
