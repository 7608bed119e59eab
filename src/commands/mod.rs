//! One file per command.

pub mod audit;
pub mod check;
pub mod db;
pub mod feedback;
pub mod generate;
pub mod healthcheck;
pub mod keys;
pub mod logits;
pub mod merge;
pub mod openapi;
pub mod pull;
pub mod replay;
pub mod serve;
pub mod simulate;

use std::sync::Arc;

use tureen_soup::{MergeOptions, Pool, Soup};

use crate::cli::SoupArgs;
use crate::exit::Failure;

/// Runs what waits for the store, in commands that otherwise wait for nothing.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::engine)?;
    Ok(runtime.block_on(work))
}

/// The soup asked for on the command line.
fn soup(pool: &Pool, args: &SoupArgs) -> Result<Arc<Soup>, Failure> {
    let options = MergeOptions { method: args.method, strength: args.strength, ..MergeOptions::default() };
    let preference = args.soup.clone().unwrap_or_default();
    pool.soup(&preference, &options).map(Arc::new).map_err(Failure::usage)
}
