//! `tureen-trainer`: see `tureen-trainer --help`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tureen_trainer::Session;
use tureen_trainer::config::Config;
use tureen_trainer::error::TrainError;

/// Trains the policies of a Tureen pool.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trains one policy by PPO.
    Ppo(PpoArgs),
}

#[derive(clap::Args)]
struct PpoArgs {
    /// The configuration (TOML).
    #[arg(long)]
    config: PathBuf,
    /// Folder of checkpoints and metrics, instead of the configured one.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Steps, instead of the configured number.
    #[arg(long)]
    steps: Option<u64>,
    /// Continues from the folder's checkpoint.
    #[arg(long)]
    resume: bool,
}

fn ppo(args: PpoArgs) -> Result<(), TrainError> {
    let mut config = Config::read(&args.config)?;
    if let Some(out) = args.out {
        config.run.out = out;
    }
    if let Some(steps) = args.steps {
        config.ppo.steps = steps;
    }
    let mut session = Session::open(config, args.resume)?;
    let total = session.config().ppo.steps;
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left, {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style).with_position(session.steps_done());
    while !session.is_finished() {
        let m = session.step()?;
        bar.set_message(format!("score {:.3}, KL {:.1}", m.scores, m.kl));
        bar.inc(1);
        tracing::info!(
            step = m.step,
            score = m.scores,
            measure = m.measure,
            gate = m.gate,
            kl = m.kl,
            beta = m.kl_coef,
            nll = m.base_nll,
            clip = m.clip_fraction,
            dev = m.first_ratio_deviation,
            norm = m.grad_norm,
            seconds = m.seconds,
            rollout = m.rollout_seconds,
            length = m.response_length,
            ended = m.ended,
            "step"
        );
        if session.steps_done() % session.config().run.save_freq == 0 || session.is_finished() {
            session.save()?;
        }
    }
    bar.finish();
    Ok(())
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let result = match Cli::parse().command {
        Command::Ppo(args) => ppo(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tureen-trainer: {error}");
            ExitCode::FAILURE
        }
    }
}
