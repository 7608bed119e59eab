//! Which step of a run is published.

use std::path::{Path, PathBuf};

use crate::error::TrainError;
use crate::metrics::StepMetrics;

/// How far over the target the KL of a published step may be: the mean of some steps is known to about this share.
const SLACK: f64 = 0.05;

/// The last checkpoint kept in `run` whose KL is near `target`: the mean of `objective/kl` over its steps (those after the
/// checkpoint before it) is at most 5 % above. The rule looks at no reward and at no held-out prompt, so neither flatters
/// what is published.
///
/// # Errors
/// A folder that cannot be read, or no such checkpoint.
pub fn near_target(run: &Path, metrics: &[StepMetrics], target: f64) -> Result<PathBuf, TrainError> {
    let kept = kept(run)?;
    let befores = std::iter::once(0).chain(kept.iter().map(|(step, _)| *step));
    let near = kept.iter().zip(befores).filter(|((step, _), before)| {
        let steps = metrics.iter().filter(|m| m.step > *before && m.step <= *step);
        let (sum, count) = steps.fold((0.0, 0), |(sum, count), m| (sum + m.kl, count + 1));
        count > 0 && sum / f64::from(count) <= (1.0 + SLACK) * target
    });
    near.last().map(|((_, path), _)| path.clone()).ok_or_else(|| {
        let run = run.display();
        TrainError::Invalid(format!("{run}: no kept checkpoint has a KL near the target of {target} nats"))
    })
}

/// Steps and paths of the checkpoints that a run kept, in the order of the steps.
fn kept(run: &Path) -> Result<Vec<(u64, PathBuf)>, TrainError> {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(run).map_err(TrainError::io(run))? {
        let path = entry.map_err(TrainError::io(run))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let step = name.strip_prefix("checkpoint-").and_then(|name| name.strip_suffix(".safetensors"));
        if let Some(step) = step.and_then(|step| step.parse().ok()) {
            kept.push((step, path));
        }
    }
    kept.sort();
    Ok(kept)
}
