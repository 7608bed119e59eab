//! `tureen logits`

use serde_json::json;
use tureen_engine::PathChoice;

use super::soup;
use crate::cli::Logits;
use crate::config::Config;
use crate::exit::Failure;
use crate::startup;

const SHOWN: usize = 10;

/// Prints the logits after the last token of the prompt.
///
/// # Errors
/// 64 for values that cannot be used, 78 for base and pool, 70 when the engine fails.
pub fn run(config: &Config, args: Logits) -> Result<(), Failure> {
    let (base, pool) = startup::open(config)?;
    let soup = soup(&pool, &args.soup)?;
    let tokens = base.tokenizer().encode(&args.prompt, true).map_err(Failure::usage)?;
    if tokens.is_empty() {
        return Err(Failure::Usage("the prompt has no tokens".into()));
    }
    let engine = startup::start_engine(config, base, pool)?;
    let rows = engine.logits(&soup, PathChoice::Auto, &tokens).map_err(Failure::engine)?;
    let last = rows.into_iter().next_back().ok_or_else(|| Failure::Engine("the engine gave no logits".into()))?;
    if args.json {
        println!("{}", json!({"tokens": tokens, "last_logits": last}));
    } else {
        let mut order: Vec<usize> = (0..last.len()).collect();
        order.sort_by(|&a, &b| last[b].total_cmp(&last[a]));
        for id in order.into_iter().take(SHOWN) {
            println!("{id:>8} {:>10.4}  {:?}", last[id], engine.checkpoint().tokenizer().decode(&[id as u32]));
        }
    }
    engine.shutdown();
    Ok(())
}
