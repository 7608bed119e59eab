//! `baseline`: trains what the soups are compared with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use tureen_engine::Checkpoint;

use super::device::DeviceArgs;
use super::ppo::finish;
use super::updates::Updates;
use crate::Session;
use crate::baseline::{BaselineConfig, MethodOptions, MorlOptions, SftOptions, train_sft};
use crate::choice::near_target;
use crate::error::TrainError;
use crate::metrics;
use crate::publishing::{enter, metadata, trained_by};

/// Trains a baseline and enters it into the pool of baselines.
#[derive(Args, Debug)]
pub struct BaselineArgs {
    /// The configuration (TOML).
    #[arg(long)]
    pub config: PathBuf,
    /// Continue a PPO run from its checkpoint.
    #[arg(long)]
    pub resume: bool,
    /// Where it computes.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Trains what is configured; a PPO run is entered as its last checkpoint whose KL is near the target, like a policy.
///
/// # Errors
/// Whatever stops a run; checkpoints stay good.
pub fn baseline(args: BaselineArgs) -> Result<(), TrainError> {
    let BaselineArgs { config, resume, device } = args;
    let device = device.chosen()?;
    let BaselineConfig { pool, mut method } = BaselineConfig::read(&config)?;
    method.model_mut().device = device;
    match method {
        MethodOptions::Rlhf(run) => {
            let by = trained_by(&run.reward);
            trained(Session::open(*run, resume)?, "rlhf", by, &pool)
        }
        MethodOptions::PromptedMorl(options) => {
            let MorlOptions { preferences, run } = *options;
            let by: BTreeSet<String> = preferences.iter().map(|preference| trained_by(&preference.reward)).collect();
            let by: Vec<String> = by.into_iter().filter(|by| !by.is_empty()).collect();
            trained(Session::with_preferences(run, resume, preferences)?, "prompted_morl", by.join(", "), &pool)
        }
        MethodOptions::MultitaskSft(options) => sft(&options, &pool),
    }
}

fn trained(mut session: Session, method: &str, by: String, pool: &Path) -> Result<(), TrainError> {
    finish(&mut session)?;
    let out = session.config().run.out.clone();
    let checkpoint = near_target(&out, &metrics::read(&out.join("metrics.jsonl"))?, session.config().ppo.target)?;
    let step = session.load_adapter(&checkpoint)?;
    let base = session.checkpoint().base_facts();
    let more = [
        ("tureen.method", method.to_owned()),
        ("tureen.steps", step.to_string()),
        ("tureen.cpu_seconds", format!("{:.0}", session.cpu_seconds())),
        ("tureen.trained_by", by),
    ];
    let metadata = metadata(session.adapter(), &base, more);
    let policy = &session.config().policy;
    enter(session.adapter(), metadata, policy, &base, &out, pool)?;
    println!("{}: step {step} entered into {}", policy.id, pool.display());
    Ok(())
}

fn sft(options: &SftOptions, pool: &Path) -> Result<(), TrainError> {
    let checkpoint = Checkpoint::open(&options.model.base).map_err(|error| TrainError::Base(error.to_string()))?;
    let mut updates = Updates::new();
    let adapter = train_sft(&checkpoint, options, |done, all, loss| updates.tell(done, all, loss))?;
    let losses = updates.finish();
    let base = checkpoint.base_facts();
    let metadata = metadata(&adapter, &base, [("tureen.method", "multitask_sft".to_owned())]);
    enter(&adapter, metadata, &options.policy, &base, &options.out, pool)?;
    let tenth = losses.len().div_ceil(10);
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len().max(1) as f64;
    println!(
        "{}: {} updates, loss {:.3} in the first tenth and {:.3} in the last, entered into {}",
        options.policy.id,
        losses.len(),
        mean(&losses[..tenth]),
        mean(&losses[losses.len() - tenth..]),
        pool.display()
    );
    Ok(())
}
