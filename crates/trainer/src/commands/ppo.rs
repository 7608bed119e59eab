//! `ppo`: trains one policy.

use std::path::{Path, PathBuf};

use clap::Args;

use super::device::DeviceArgs;
use super::jobs::side_by_side;
use super::progress::bar;
use crate::Session;
use crate::config::Config;
use crate::error::TrainError;
use crate::{metrics, plot};

/// Trains one policy by PPO.
#[derive(Args, Debug)]
pub struct PpoArgs {
    /// The configuration (TOML).
    #[arg(long, required_unless_present = "configs")]
    pub config: Option<PathBuf>,
    /// A folder of configurations: `--index` picks one of its `.toml` files, sorted by name, for the jobs of a cluster;
    /// without it all are trained.
    #[arg(long, conflicts_with = "config")]
    pub configs: Option<PathBuf>,
    /// Which configuration of the folder, from 0.
    #[arg(long, requires = "configs")]
    pub index: Option<usize>,
    /// Policies of the folder that are trained side by side, each in a process of its own with `--threads` threads.
    #[arg(long, requires = "configs", conflicts_with = "index", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Folder of checkpoints and metrics, instead of the configured one.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Steps of the whole run, instead of the configured number.
    #[arg(long)]
    pub steps: Option<u64>,
    /// Continue from the folder's checkpoint.
    #[arg(long)]
    pub resume: bool,
    /// Where it computes.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Runs the steps that are left, saving as configured, and draws the curves.
///
/// # Errors
/// Whatever stops a run; the last checkpoint stays good.
pub fn ppo(args: PpoArgs) -> Result<(), TrainError> {
    let PpoArgs { config, configs, index, jobs, out, steps, resume, device } = args;
    let chosen = device.chosen()?;
    let path = match (config, configs.unwrap_or_default(), index) {
        (Some(config), ..) => config,
        (None, configs, Some(index)) => pick(&configs, index)?,
        (None, _, None) if out.is_some() => {
            return Err(TrainError::Invalid("--out is for one run: several would share the folder".into()));
        }
        (None, configs, None) => {
            let run = |config: &Path| {
                let mut arguments = vec!["ppo".into(), "--config".into(), config.as_os_str().to_owned()];
                arguments.extend(steps.into_iter().flat_map(|steps| ["--steps".into(), steps.to_string().into()]));
                arguments.extend(device.argument());
                arguments.extend(resume.then(|| "--resume".into()));
                arguments
            };
            return side_by_side(&listed(&configs)?, jobs.into(), run);
        }
    };
    let mut config = Config::read(&path)?;
    config.model.device = chosen;
    config.run.out = out.unwrap_or(config.run.out);
    config.ppo.steps = steps.unwrap_or(config.ppo.steps);
    finish(&mut Session::open(config, resume)?)
}

/// Does the steps that are left, saves as configured, and draws the curves.
pub(super) fn finish(session: &mut Session) -> Result<(), TrainError> {
    let bar = bar(session.config().ppo.steps, "steps").with_position(session.steps_done());
    tracing::info!("gradient checkpointing: {}", session.checkpointing());
    while !session.is_finished() {
        let m = session.step()?;
        bar.set_message(format!("score {:.3}, gate {:.2}, KL {:.1}", m.scores, m.gate, m.kl));
        bar.inc(1);
        tracing::info!(step = m.step, score = m.scores, measure = m.measure, gate = m.gate, kl = m.kl, "step done");
        if session.steps_done().is_multiple_of(session.config().run.save_freq) || session.is_finished() {
            session.save()?;
        }
    }
    bar.finish();
    let out = &session.config().run.out;
    plot::draw(&metrics::read(&out.join("metrics.jsonl"))?, out)
}

/// The `index`-th configuration in `folder`: every job of an array gets the same one, on whatever machine it runs.
fn pick(folder: &Path, index: usize) -> Result<PathBuf, TrainError> {
    let configs = listed(folder)?;
    let count = configs.len();
    let missing =
        || TrainError::Invalid(format!("{}: holds {count} configurations, none of index {index}", folder.display()));
    configs.into_iter().nth(index).ok_or_else(missing)
}

/// The configurations in `folder`, sorted by name.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let mut configs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(TrainError::io(folder))? {
        let path = entry.map_err(TrainError::io(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            configs.push(path);
        }
    }
    configs.sort();
    if configs.is_empty() {
        return Err(TrainError::Invalid(format!("{}: holds no configuration", folder.display())));
    }
    Ok(configs)
}
