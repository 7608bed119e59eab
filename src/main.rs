//! Reads the command line and the configuration, and does what was asked.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use tureen::cli::{Cli, Command};
use tureen::commands;
use tureen::config::Config;
use tureen::exit::Failure;
use tureen::telemetry;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return explain(&told),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    // The document needs no configuration, so that it can be printed anywhere.
    if let Some(Command::Openapi) = cli.command {
        return commands::openapi::run();
    }
    let config = Config::from_process(cli.config.as_deref()).map_err(Failure::config)?;
    telemetry::install(&config.log)?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => commands::serve::run(config),
        Command::Pull => commands::pull::run(&config),
        Command::Check => commands::check::run(&config),
        Command::Generate(args) => commands::generate::run(&config, args),
        Command::Merge(args) => commands::merge::run(&config, args),
        Command::Logits(args) => commands::logits::run(&config, args),
        Command::Keys(command) => commands::keys::run(&config, command),
        Command::Audit(command) => commands::audit::run(&config, command),
        Command::Simulate(args) => commands::simulate::run(&config, &args),
        Command::Db(command) => commands::db::run(&config, &command),
        Command::Feedback(command) => commands::feedback::run(&config, command),
        Command::Healthcheck => commands::healthcheck::run(&config),
        Command::Openapi => commands::openapi::run(),
    }
}

/// Help and version are answers (exit 0); anything else is wrong usage (exit 64).
fn explain(told: &clap::Error) -> ExitCode {
    // When nobody reads the output there is nobody to tell.
    let _ = told.print();
    match told.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(64),
    }
}
