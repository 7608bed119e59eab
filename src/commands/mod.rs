//! One file per command.

pub mod check;
pub mod generate;
pub mod healthcheck;
pub mod logits;
pub mod merge;
pub mod openapi;
pub mod pull;
pub mod serve;

use std::sync::Arc;

use tureen_soup::{MergeOptions, Pool, Soup};

use crate::cli::SoupArgs;
use crate::exit::Failure;

/// The soup asked for on the command line.
fn soup(pool: &Pool, args: &SoupArgs) -> Result<Arc<Soup>, Failure> {
    let options = MergeOptions { method: args.method, strength: args.strength, ..MergeOptions::default() };
    let preference = args.soup.clone().unwrap_or_default();
    pool.soup(&preference, &options).map(Arc::new).map_err(Failure::usage)
}
