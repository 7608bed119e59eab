//! `publish`: adds a trained policy to a pool, with its report and model card.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tureen_soup::{MergeOptions, Pool, PoolOptions, Preference};

use super::device::DeviceArgs;
use crate::Session;
use crate::choice::{factor_near_target, near_target};
use crate::config::Config;
use crate::error::TrainError;
use crate::generator::PooledSoup;
use crate::heldout::{HeldoutOptions, evaluate};
use crate::prompts::{Split, prepare, read};
use crate::publishing::{enter, metadata, trained_by};
use crate::report::{Report, card, own_rule};
use crate::state::write_atomically;
use crate::{metrics, plot};

/// Publishes a trained policy into a pool.
#[derive(Args, Debug)]
pub struct PublishArgs {
    /// The configuration of the run.
    #[arg(long)]
    pub config: PathBuf,
    /// The run's folder, instead of the configured one.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// The checkpoint, instead of the last kept one whose KL is near `ppo.target`.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// The pool.
    #[arg(long, default_value = "policies")]
    pub pool: PathBuf,
    /// What the run was made on, for its report.
    #[arg(long, default_value = "one CPU thread")]
    pub machine: String,
    /// Where it computes.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Writes the adapter in bf16, enters it into the pool, and reports on it as it was published.
///
/// # Errors
/// A run without checkpoint, or a pool that refuses the policy.
pub fn publish(args: PublishArgs) -> Result<(), TrainError> {
    let PublishArgs { config, out, checkpoint, pool, machine, device } = args;
    let device = device.chosen()?;
    let mut config = Config::read(&config)?;
    config.model.device = device;
    config.run.out = out.unwrap_or(config.run.out);
    let run = config.run.out.clone();
    let mut session = Session::open(config, true)?;
    if session.steps_done() == 0 {
        return Err(TrainError::Invalid(format!("{}: there is no checkpoint to publish", run.display())));
    }
    let metrics = metrics::read(&run.join("metrics.jsonl"))?;
    let counted = metrics.iter().filter(|line| line.step <= session.steps_done());
    let begun_after = session.cpu_seconds() - counted.map(|line| line.cpu_seconds).sum::<f64>();
    let by_rule = checkpoint.is_none();
    let checkpoint = match checkpoint {
        Some(path) => path,
        None => near_target(&run, &metrics, session.config().ppo.target)?,
    };
    let step = session.load_adapter(&checkpoint)?;
    let config = session.config();
    let options = HeldoutOptions {
        max_new_tokens: 64,
        kl_tokens: config.generation.mean_length(),
        seed: 7,
        gate: config.reward.gate.clone(),
        own: own_rule(&config.reward),
    };
    let prompts = read(config.prompts.heldout.as_deref(), Split::Heldout)?;
    let prompts = prepare(session.checkpoint(), prompts, config.prompts.max_prompt_tokens)?;
    let shorter = HeldoutOptions { max_new_tokens: options.kl_tokens, ..options.clone() };
    let factor = factor_near_target(config.ppo.target, |factor| {
        let pulled = session.policy(factor)?;
        Ok(evaluate(session.base(), session.generator(), &pulled, &prompts, &shorter)?.kl)
    })?;
    session.adapter().pull(factor)?;
    let policy = &config.policy;
    let invalid = |error: &dyn std::fmt::Display| TrainError::Invalid(error.to_string());
    let base = session.checkpoint().base_facts();
    let more = [
        ("tureen.policy", policy.id.clone()),
        ("tureen.steps", step.to_string()),
        ("tureen.factor", factor.to_string()),
        ("tureen.cpu_seconds", format!("{:.0}", session.cpu_seconds())),
        ("tureen.trained_by", trained_by(&config.reward)),
    ];
    enter(session.adapter(), metadata(session.adapter(), &base, more), policy, &base, &run, &pool)?;

    let folder = pool.join(&policy.id);
    // The run may have gone on after the published checkpoint.
    let metrics: Vec<_> = metrics.into_iter().filter(|line| line.step <= step).collect();
    plot::draw(&metrics, &folder)?;
    let opened = Pool::open(&pool, &PoolOptions::default()).map_err(|error| invalid(&error))?;
    let only = Preference::from_pairs([(policy.id.clone(), 1.0)]).map_err(|error| invalid(&error))?;
    let soup = PooledSoup::new(&Arc::new(opened), &only, &MergeOptions::default())?;
    let generator = session.generator();
    let before = evaluate(session.base(), generator, &generator.base()?, &prompts, &options)?;
    let after = evaluate(session.base(), generator, &soup, &prompts, &options)?;
    let report = Report {
        config: session.config(),
        base: &base.name,
        step,
        metrics: &metrics,
        before: &before,
        after: &after,
        machine: &machine,
        by_rule,
        factor,
        begun_after,
    };
    write_atomically(&folder.join("REPORT.md"), report.markdown().as_bytes())?;
    write_atomically(&folder.join("README.md"), card(session.config(), &base.name).as_bytes())?;
    println!("{}: step {step} published into {}", policy.id, pool.display());
    Ok(())
}
