//! `tureen-trainer`: see `tureen-trainer --help`.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tureen_trainer::commands::{
    AnnotateArgs, BaselineArgs, EvaluateArgs, PpoArgs, PublishArgs, RewardArgs, RolloutArgs, annotate, baseline,
    evaluate, ppo, publish, reward, rollout,
};

/// Trains the policies of a Tureen pool.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// Threads of the matrix products.
    #[arg(long, global = true, default_value_t = 1)]
    threads: usize,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Rollout(RolloutArgs),
    Annotate(AnnotateArgs),
    Reward(RewardArgs),
    Ppo(PpoArgs),
    Publish(PublishArgs),
    Baseline(BaselineArgs),
    Evaluate(EvaluateArgs),
}

/// Where candle reads how many threads its own pool has.
const CANDLE_THREADS: &str = "CANDLE_NUM_THREADS";

/// Candle's own pool takes every core, and spins on it, unless the environment says otherwise when the first operation runs;
/// a process cannot safely change its environment, so it begins anew with another.
fn bound_candle(threads: usize) {
    if std::env::var_os(CANDLE_THREADS).is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        let mut anew = std::process::Command::new(program);
        let error = anew.args(std::env::args_os().skip(1)).env(CANDLE_THREADS, threads.to_string()).exec();
        tracing::warn!(%error, "candle's pool takes every core");
    }
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let Cli { threads, command } = Cli::parse();
    bound_candle(threads);
    // candle splits its products for all cores; this pool decides how many threads run the parts.
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        eprintln!("tureen-trainer: {error}");
        return ExitCode::FAILURE;
    }
    let result = match command {
        Command::Rollout(args) => rollout(args),
        Command::Annotate(args) => annotate(args),
        Command::Reward(args) => reward(args),
        Command::Ppo(args) => ppo(args),
        Command::Publish(args) => publish(args),
        Command::Baseline(args) => baseline(args),
        Command::Evaluate(args) => evaluate(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tureen-trainer: {error}");
            ExitCode::FAILURE
        }
    }
}
