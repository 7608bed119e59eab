//! Metrics of a run, one JSON line a step, under TRL's names where TRL has one.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::reward::Scored;
use crate::rollout::Sample;
use crate::state::write_atomically;

/// One step.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct StepMetrics {
    /// The step, from 1.
    pub step: u64,
    /// Mean KL of a response to the base, in nats.
    #[serde(rename = "objective/kl")]
    pub kl: f64,
    /// The weight of the KL penalty in this step.
    #[serde(rename = "objective/kl_coef")]
    pub kl_coef: f64,
    /// Mean of `-sum log p` of the responses.
    #[serde(rename = "objective/entropy")]
    pub entropy: f64,
    /// Mean score.
    #[serde(rename = "objective/scores")]
    pub scores: f64,
    /// Standard deviation of the scores.
    #[serde(rename = "objective/scores_std")]
    pub scores_std: f64,
    /// Mean of the rule's own measure (grade, friendliness).
    #[serde(rename = "reward/measure")]
    pub measure: f64,
    /// Mean of the content gate.
    #[serde(rename = "reward/gate")]
    pub gate: f64,
    /// Mean negative log-likelihood per token under the base.
    #[serde(rename = "reward/base_nll")]
    pub base_nll: f64,
    /// Clipped policy loss.
    #[serde(rename = "ppo/loss/policy")]
    pub policy_loss: f64,
    /// Clipped value loss.
    #[serde(rename = "ppo/loss/value")]
    pub value_loss: f64,
    /// Share of clipped tokens.
    #[serde(rename = "ppo/policy/clipfrac")]
    pub clip_fraction: f64,
    /// Half the mean squared change of log-probability.
    #[serde(rename = "ppo/policy/approxkl")]
    pub approx_kl: f64,
    /// Mean change of log-probability.
    #[serde(rename = "ppo/policy/policykl")]
    pub policy_kl: f64,
    /// Largest |ratio - 1| of the first minibatch: rounding alone.
    #[serde(rename = "ppo/policy/first_ratio_deviation")]
    pub first_ratio_deviation: f64,
    /// Largest |log p - log p| of a sampled token between the engine and the trainer's forward, in nats: rounding alone.
    #[serde(rename = "ppo/rollout/log_prob_deviation", default)]
    pub rollout_deviation: f64,
    /// Share of clipped values.
    #[serde(rename = "ppo/val/clipfrac")]
    pub value_clip_fraction: f64,
    /// Mean length of the gradient.
    #[serde(rename = "ppo/grad_norm")]
    pub grad_norm: f64,
    /// Whether the epochs were ended early.
    #[serde(rename = "ppo/early_stop")]
    pub early_stop: bool,
    /// Mean tokens of a response.
    #[serde(rename = "tokens/responses_len_mean")]
    pub response_length: f64,
    /// Share of responses that the policy ended.
    #[serde(rename = "tokens/ended")]
    pub ended: f64,
    /// Seconds of the step.
    #[serde(rename = "time/ppo/total")]
    pub seconds: f64,
    /// Seconds of processor time of the step, all threads together; 0 in files of runs that did not measure it.
    #[serde(rename = "time/ppo/cpu", default)]
    pub cpu_seconds: f64,
    /// Seconds of sampling and scoring in it.
    #[serde(rename = "time/ppo/rollout")]
    pub rollout_seconds: f64,
}

/// The metrics file of a run.
pub(crate) struct MetricsLog {
    path: PathBuf,
}

impl MetricsLog {
    /// Opens the log at `path` and drops lines (also of the samples) of steps after `step`: a resumed run repeats those.
    pub(crate) fn resume(path: &Path, step: u64) -> Result<Self, TrainError> {
        let log = Self { path: path.to_owned() };
        for path in [path.to_owned(), log.samples()] {
            keep(&path, step)?;
        }
        Ok(log)
    }

    pub(crate) fn append(&self, metrics: &StepMetrics) -> Result<(), TrainError> {
        let line = serde_json::to_string(metrics).map_err(|error| TrainError::Invalid(error.to_string()))? + "\n";
        append(&self.path, &line)
    }
}

impl MetricsLog {
    /// Adds the first responses of a step to `samples.jsonl`, for people to read.
    pub(crate) fn show(&self, step: u64, samples: &[Sample]) -> Result<(), TrainError> {
        let mut lines = String::new();
        for sample in samples.iter().take(4) {
            let Scored { score, measure, gate } = sample.scored;
            let (prompt, kl, nll) = (&sample.prompt.text, sample.kl(), sample.base_nll());
            let line = serde_json::json!({
                "step": step, "score": score, "measure": measure, "gate": gate, "kl": kl, "base_nll": nll,
                "prompt": prompt, "response": sample.text,
            });
            lines += &format!("{line}\n");
        }
        append(&self.samples(), &lines)
    }

    fn samples(&self) -> PathBuf {
        self.path.with_file_name("samples.jsonl")
    }
}

/// Rewrites the JSON lines at `path` without those of steps after `step`, and without one that a crash cut off, be it
/// within a character.
fn keep(path: &Path, step: u64) -> Result<(), TrainError> {
    #[derive(Deserialize)]
    struct Line {
        step: u64,
    }
    if !path.exists() {
        return Ok(());
    }
    let bytes = std::fs::read(path).map_err(TrainError::io(path))?;
    let is_kept = |line: &&[u8]| serde_json::from_slice(line).is_ok_and(|line: Line| line.step <= step);
    let kept = bytes.split(|byte| *byte == b'\n').filter(is_kept).flat_map(|line| [line, b"\n"]);
    write_atomically(path, &kept.collect::<Vec<_>>().concat())
}

fn append(path: &Path, text: &str) -> Result<(), TrainError> {
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(TrainError::io(path))?;
    file.write_all(text.as_bytes()).map_err(TrainError::io(path))
}

/// Reads a metrics file; a last line that a crash cut off is left out.
///
/// # Errors
/// A file that cannot be read.
pub fn read(path: &Path) -> Result<Vec<StepMetrics>, TrainError> {
    let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
