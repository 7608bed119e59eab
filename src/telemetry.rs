//! Logging to standard error. Prompts, answers, keys and paths are never logged: see [`crate::middleware`].

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::Log;
use crate::exit::Failure;

/// Installs the subscriber.
///
/// # Errors
/// When `log.filter` cannot be read.
pub fn install(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.filter)
        .map_err(|e| Failure::Config(format!("`log.filter` = {:?}: {e}; write it as in RUST_LOG", log.filter)))?;
    let colour = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // A second installation in one process (tests) keeps the first.
    let _ = if log.json { builder.json().try_init() } else { builder.try_init() };
    Ok(())
}
