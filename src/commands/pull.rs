//! `tureen pull`

use crate::config::Config;
use crate::exit::Failure;
use crate::pull::{self, Pulled};

/// Fetches the base if it is missing, and says where it is.
///
/// # Errors
/// 78 when no source gave it, or another file is in the way.
pub fn run(config: &Config) -> Result<(), Failure> {
    let path = config.base.path.display();
    match pull::pull(config).map_err(Failure::config)? {
        Pulled::AlreadyThere => println!("{path} is there"),
        Pulled::From(source) => println!("{path} came from {source}"),
    }
    Ok(())
}
