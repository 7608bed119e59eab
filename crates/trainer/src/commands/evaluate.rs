//! `evaluate`: held-out scores of the base and of soups of two policies.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use tureen_engine::Checkpoint;
use tureen_soup::{MergeOptions, Pool, PoolOptions, Preference};

use crate::error::TrainError;
use crate::generator::{Generator, PooledSoup};
use crate::heldout::{HeldoutOptions, HeldoutScores, evaluate as score};
use crate::model::load_base;
use crate::prompts::{Split, prepare, read};
use crate::reward::GateOptions;
use crate::state::write_atomically;

/// The weights of the first policy; the second has the rest.
const WEIGHTS: [f64; 5] = [1.0, 0.75, 0.5, 0.25, 0.0];

/// Tokens of an answer whose KL is added up: what the shipped policies were trained at.
const KL_TOKENS: usize = 40;

/// Scores the base and exact soups of two policies on held-out prompts.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// The base: a GGUF file or a Hugging Face directory.
    #[arg(long)]
    pub base: PathBuf,
    /// The pool.
    #[arg(long, default_value = "policies")]
    pub pool: PathBuf,
    /// The two policies that are mixed.
    #[arg(long, num_args = 2, default_values = ["elementary", "friendly"])]
    pub policies: Vec<String>,
    /// Held-out prompts (.txt or .jsonl), instead of the built-in ones.
    #[arg(long)]
    pub prompts: Option<PathBuf>,
    /// What the prompts are called in the table.
    #[arg(long, default_value = "the built-in held-out prompts")]
    pub name: String,
    /// Prompts over this many tokens are left out.
    #[arg(long, default_value_t = 40)]
    pub max_prompt_tokens: usize,
    /// Longest answer, in tokens.
    #[arg(long, default_value_t = 64)]
    pub max_new_tokens: usize,
    /// Where `evaluation.json` and `evaluation.md` go.
    #[arg(long)]
    pub out: PathBuf,
}

/// One line of the table.
#[derive(Serialize)]
struct Row {
    soup: String,
    scores: HeldoutScores,
}

/// Writes the table.
///
/// # Errors
/// A base or pool that cannot be used, or unknown policies.
pub fn evaluate(args: EvaluateArgs) -> Result<(), TrainError> {
    let EvaluateArgs { base, pool, policies, prompts, name, max_prompt_tokens, max_new_tokens, out } = args;
    let invalid = |error: &dyn std::fmt::Display| TrainError::Invalid(error.to_string());
    let checkpoint = Checkpoint::open(&base).map_err(|error| TrainError::Base(error.to_string()))?;
    let pool = Pool::open(&pool, &PoolOptions::default()).map_err(|error| invalid(&error))?;
    pool.check_base(&checkpoint.base_facts()).map_err(|error| invalid(&error))?;
    let (pool, checkpoint) = (Arc::new(pool), Arc::new(checkpoint));
    let prompts = prepare(&checkpoint, read(prompts.as_deref(), Split::Heldout)?, max_prompt_tokens)?;
    let base = load_base(&checkpoint, max_prompt_tokens + max_new_tokens)?;
    let generator = Generator::start(checkpoint, base.geometry().positions)?;
    let options = HeldoutOptions { max_new_tokens, kl_tokens: KL_TOKENS, seed: 7, gate: GateOptions::default() };
    let mut rows =
        vec![Row { soup: "base".into(), scores: score(&base, &generator, &generator.base()?, &prompts, &options)? }];
    for weight in WEIGHTS {
        let pairs = [(policies[0].clone(), weight), (policies[1].clone(), 1.0 - weight)];
        let preference = Preference::from_pairs(pairs).map_err(|error| invalid(&error))?;
        let soup = PooledSoup::new(&pool, &preference, &MergeOptions::default())?;
        rows.push(Row {
            soup: format!("{}={weight}, {}={}", policies[0], policies[1], 1.0 - weight),
            scores: score(&base, &generator, &soup, &prompts, &options)?,
        });
    }
    let table = markdown(&rows, &name, prompts.len(), max_new_tokens);
    print!("{table}");
    std::fs::create_dir_all(&out).map_err(TrainError::io(&out))?;
    // The answers stay out of the file: means are what is compared.
    rows.iter_mut().for_each(|row| row.scores.answers.clear());
    let json = serde_json::to_string_pretty(&rows).map_err(|error| invalid(&error))? + "\n";
    write_atomically(&out.join("evaluation.json"), json.as_bytes())?;
    write_atomically(&out.join("evaluation.md"), table.as_bytes())
}

fn markdown(rows: &[Row], name: &str, prompts: usize, max_new_tokens: usize) -> String {
    let mut text = format!(
        "# Exact soups on held-out prompts\n\nMeans over {prompts} prompts ({name}), one answer each of at most \
         {max_new_tokens} tokens at temperature 1, the same seed for every soup.\n\n\
         | soup | grade | friendliness | elementary score | friendly score | gate | base NLL | KL, first {KL_TOKENS} tokens |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for Row { soup, scores } in rows {
        text += &format!(
            "| {soup} | {:.2} | {:.2} | {:.3} | {:.3} | {:.2} | {:.2} | {:.1} |\n",
            scores.grade,
            scores.friendliness,
            scores.elementary_score,
            scores.friendly_score,
            scores.gate,
            scores.base_nll,
            scores.kl
        );
    }
    text
}
