//! Which step of a run is published, and how much of its update.

use std::path::{Path, PathBuf};

use crate::error::TrainError;
use crate::metrics::StepMetrics;

/// How far over the target the KL of a published policy may be.
const SLACK: f64 = 0.05;
/// Factors that an update may be pulled towards the base by, as parts of 1.
const FACTORS: u32 = 20;

/// The last checkpoint kept in `run` whose KL is near `target`: the mean of `objective/kl` over its steps (those after the
/// checkpoint before it) is at most 5 % above. The rule looks at no reward, so none flatters what is published.
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

/// The largest twentieth that an update can be multiplied by so that its KL, as `kl_of` measures it on held-out prompts, is at
/// most 5 % above `target`. The steps of a run swing around their target; what is published does not.
///
/// # Errors
/// What `kl_of` fails with.
pub fn factor_near_target(
    target: f64,
    mut kl_of: impl FnMut(f64) -> Result<f64, TrainError>,
) -> Result<f64, TrainError> {
    for part in (2..=FACTORS).rev() {
        let factor = f64::from(part) / f64::from(FACTORS);
        if kl_of(factor)? <= (1.0 + SLACK) * target {
            return Ok(factor);
        }
    }
    Ok(1.0 / f64::from(FACTORS))
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
