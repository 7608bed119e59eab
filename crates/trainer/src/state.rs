//! Checkpoints of a run: one safetensors file with the run's state in its metadata, replaced atomically.

use std::collections::HashMap;
use std::fs::{File, remove_file, rename};
use std::io::Write;
use std::path::Path;

use candle_core::{Tensor, Var};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::ops::to_vec;
use crate::ppo::{AdamState, AdaptiveKl, RunningMoments};

/// What a run continues with, next to its tensors. Random draws need no state: each is derived from seed and step.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub(crate) struct Progress {
    /// Steps done.
    pub(crate) step: u64,
    /// Bits of the slow KL weight and of the running mean of the KL: JSON numbers may lose the last one.
    kl: [u64; 2],
    /// Bits of the running mean, variance and count of the scores.
    moments: [u64; 3],
    /// Updates Adam has made.
    updates: u64,
    /// Hash of the configuration and the base, which must not change within a run.
    pub(crate) fingerprint: String,
    /// Seconds of processor time so far.
    pub(crate) seconds: u64,
}

impl Progress {
    pub(crate) fn new(step: u64, kl: &AdaptiveKl, moments: &RunningMoments, updates: u64, fingerprint: &str) -> Self {
        let moments = [moments.mean, moments.variance, moments.count].map(f64::to_bits);
        let kl = [kl.coef, kl.mean].map(f64::to_bits);
        Self { step, kl, moments, updates, fingerprint: fingerprint.to_owned(), seconds: 0 }
    }

    /// The slow KL weight and the running mean of the KL.
    pub(crate) fn kl(&self) -> (f64, f64) {
        let [coef, mean] = self.kl.map(f64::from_bits);
        (coef, mean)
    }

    pub(crate) fn moments(&self) -> RunningMoments {
        let [mean, variance, count] = self.moments.map(f64::from_bits);
        RunningMoments { mean, variance, count }
    }
}

/// Writes bytes so that after a crash, or on a full disk, the file is either the old one or the whole new one.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let partial = path.with_extension("partial");
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written {
        // What did not fit would keep the next attempt from fitting. Best effort: the error that matters is the first.
        let _ = remove_file(&partial);
        return Err(TrainError::io(path)(error));
    }
    rename(&partial, path).map_err(TrainError::io(path))?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(TrainError::io(folder))?;
    }
    Ok(())
}

/// Writes the variables, Adam's moments and the progress to `path`.
pub(crate) fn save(
    path: &Path,
    vars: &[(String, Var)],
    adam: &AdamState,
    progress: &Progress,
) -> Result<(), TrainError> {
    let mut parts: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    for (index, (name, var)) in vars.iter().enumerate() {
        parts.push((name.clone(), var.dims().to_vec(), bytes(&to_vec(var)?)));
        parts.push((format!("adam.first.{name}"), var.dims().to_vec(), bytes(&adam.first[index])));
        parts.push((format!("adam.second.{name}"), var.dims().to_vec(), bytes(&adam.second[index])));
    }
    let invalid = |error: &dyn std::fmt::Display| TrainError::Invalid(format!("{}: {error}", path.display()));
    let mut views = Vec::with_capacity(parts.len());
    for (name, shape, data) in &parts {
        let view = TensorView::new(Dtype::F32, shape.clone(), data).map_err(|error| invalid(&error))?;
        views.push((name.as_str(), view));
    }
    let json = serde_json::to_string(progress).map_err(|error| invalid(&error))?;
    let metadata = HashMap::from([("progress".to_owned(), json)]);
    let data = safetensors::serialize(views, Some(metadata)).map_err(|error| invalid(&error))?;
    write_atomically(path, &data)
}

/// Reads a checkpoint into the variables; returns Adam's state and the progress.
pub(crate) fn load(path: &Path, vars: &[(String, Var)]) -> Result<(AdamState, Progress), TrainError> {
    let data = std::fs::read(path).map_err(TrainError::io(path))?;
    let invalid = |error: &dyn std::fmt::Display| TrainError::Invalid(format!("{}: {error}", path.display()));
    let tensors = SafeTensors::deserialize(&data).map_err(|error| invalid(&error))?;
    let (_, header) = SafeTensors::read_metadata(&data).map_err(|error| invalid(&error))?;
    let json = header.metadata().as_ref().and_then(|metadata| metadata.get("progress"));
    let json = json.ok_or_else(|| invalid(&"it is no checkpoint of a run"))?;
    let progress: Progress = serde_json::from_str(json).map_err(|error| invalid(&error))?;
    let fetch = |name: &str, dims: &[usize]| -> Result<Vec<f32>, TrainError> {
        let view = tensors.tensor(name).map_err(|error| invalid(&error))?;
        if view.dtype() != Dtype::F32 || view.shape() != dims {
            return Err(invalid(&format!("{name} has another shape than this run")));
        }
        Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    let mut adam = AdamState { updates: progress.updates, ..AdamState::default() };
    for (name, var) in vars {
        adam.first.push(fetch(&format!("adam.first.{name}"), var.dims())?);
        adam.second.push(fetch(&format!("adam.second.{name}"), var.dims())?);
        var.set(&Tensor::from_vec(fetch(name, var.dims())?, var.shape(), var.device())?)?;
    }
    Ok((adam, progress))
}
