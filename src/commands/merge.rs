//! `tureen merge`: one soup on disk, for tools that know nothing of pools.

use std::path::Path;

use tureen_soup::merge::as_peft;

use super::soup;
use crate::cli::Merge;
use crate::config::Config;
use crate::exit::Failure;
use crate::{export, startup};

/// Writes a PEFT adapter of the exact soup, or with `--full` the whole merged model in f32.
///
/// # Errors
/// 64 for a soup or folder that cannot be used, 78 for base and pool, 70 when writing fails.
pub fn run(config: &Config, args: Merge) -> Result<(), Failure> {
    require_empty(&args.out)?;
    let (base, pool) = startup::open(config)?;
    let soup = soup(&pool, &args.soup)?;
    std::fs::create_dir_all(&args.out).map_err(|e| Failure::Usage(format!("--out {}: {e}", args.out.display())))?;
    if args.full {
        export::full(&base, &pool, &soup, &args.out).map_err(Failure::engine)?;
    } else {
        let adapter = as_peft(&pool, &soup).map_err(|e| {
            Failure::Usage(format!("{e}; an adapter can hold `exact` soups of LoRA policies: use --full"))
        })?;
        adapter.write(&args.out, base.name()).map_err(Failure::engine)?;
    }
    println!("{} is soup {} of revision {}", args.out.display(), soup.id(), soup.revision());
    Ok(())
}

/// Nothing is overwritten: what stands in the folder may be somebody's model.
fn require_empty(out: &Path) -> Result<(), Failure> {
    let entries = match std::fs::read_dir(out) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Failure::Usage(format!("--out {}: {e}", out.display()))),
        Ok(entries) => entries.count(),
    };
    if entries == 0 {
        return Ok(());
    }
    Err(Failure::Usage(format!("--out {} is not empty: name another folder", out.display())))
}
