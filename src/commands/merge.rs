//! `tureen merge`

use crate::cli::Merge;
use crate::config::Config;
use crate::exit::Failure;
/// x
pub fn run(_config: &Config, _args: Merge) -> Result<(), Failure> { Ok(()) }
