//! `ppo`: trains one policy.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Session;
use crate::config::Config;
use crate::error::TrainError;
use crate::{metrics, plot};

/// Trains one policy by PPO.
#[derive(Args, Debug)]
pub struct PpoArgs {
    /// The configuration (TOML).
    #[arg(long)]
    pub config: PathBuf,
    /// Folder of checkpoints and metrics, instead of the configured one.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Steps of the whole run, instead of the configured number.
    #[arg(long)]
    pub steps: Option<u64>,
    /// Continue from the folder's checkpoint.
    #[arg(long)]
    pub resume: bool,
}

/// Runs the steps that are left, saving as configured, and draws the curves.
///
/// # Errors
/// Whatever stops a run; the last checkpoint stays good.
pub fn ppo(args: PpoArgs) -> Result<(), TrainError> {
    let PpoArgs { config, out, steps, resume } = args;
    let mut config = Config::read(&config)?;
    config.run.out = out.unwrap_or(config.run.out);
    config.ppo.steps = steps.unwrap_or(config.ppo.steps);
    let mut session = Session::open(config, resume)?;
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left, {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(session.config().ppo.steps).with_style(style).with_position(session.steps_done());
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
