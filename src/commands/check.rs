//! `tureen check`

use crate::config::Config;
use crate::exit::Failure;
use crate::startup;

/// Opens everything that `serve` would, but no port.
///
/// # Errors
/// 78 with every problem.
pub fn run(config: &Config) -> Result<(), Failure> {
    startup::open_tls(config)?;
    super::block_on(startup::open_store(config))??;
    let (base, pool) = startup::open(config)?;
    println!("base {} ({})", base.name(), base.sha256());
    println!("pool revision {}, {} policies", pool.revision(), pool.policies().len());
    for policy in pool.policies() {
        println!("  {} {} ({})", policy.code(), policy.id(), policy.dimension());
    }
    if let Some(candidate) = startup::published_candidate(config, &base)? {
        println!("candidate revision {}, {} policies", candidate.revision(), candidate.policies().len());
    }
    Ok(())
}
