//! `annotate`: answers to preference pairs.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::progress::bar;
use crate::annotate::judge::Judge;
use crate::annotate::{Annotator, AnnotatorOptions, annotate as compare_all, read_answers};
use crate::config::read_checked;
use crate::error::TrainError;

/// Compares answers and writes preference pairs.
#[derive(Args, Debug)]
pub struct AnnotateArgs {
    /// The configuration (TOML).
    #[arg(long)]
    pub config: PathBuf,
}

/// An annotation: its files and who compares.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AnnotateConfig {
    /// Records of a `prompt` and its `answers` (`.jsonl` or `.json`).
    pub answers: PathBuf,
    /// The pairs that are written (`.jsonl`).
    pub out: PathBuf,
    /// Who compares: `[annotator.rules]`, `[annotator.measure]`, `[annotator.human]`, `[annotator.model]` or
    /// `[annotator.judge]`.
    pub annotator: AnnotatorOptions,
}

impl AnnotateConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// A file that cannot be read, unknown keys, or values that cannot be used.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        read_checked(path, |config: &Self| config.annotator.check().map_err(|message| format!("annotator.{message}")))
    }
}

/// Writes the pairs, and beside them the verdicts that a broken-off run takes up.
///
/// # Errors
/// Files that cannot be read or written, or a judge that does not answer; the verdicts so far are kept.
pub fn annotate(args: AnnotateArgs) -> Result<(), TrainError> {
    let AnnotateArgs { config } = args;
    let AnnotateConfig { answers, out, annotator: options } = AnnotateConfig::read(&config)?;
    let answers = read_answers(&answers)?;
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).map_err(TrainError::io(folder))?;
    }
    let verdicts = out.with_extension("verdicts.jsonl");
    let identity = options.identity()?;
    let bar = bar(0, "comparisons");
    let watch = |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let run = |annotator: &mut dyn Annotator| compare_all(&answers, annotator, &identity, &verdicts, &out, watch);
    let (summary, cost) = match options {
        AnnotatorOptions::Judge(options) => {
            let mut judge = Judge::new(options)?;
            let result = run(&mut judge);
            let usage = judge.usage();
            let cost = format!(
                "{} requests, {} tokens read, {} written, cost {:.4}",
                usage.requests,
                usage.input,
                usage.output,
                judge.cost()
            );
            if result.is_err() {
                println!("{cost}");
            }
            (result?, Some(cost))
        }
        options => (run(options.annotator()?.as_mut())?, None),
    };
    bar.finish_and_clear();
    println!("{} pairs, {} ties, {} taken up from before", summary.pairs, summary.ties, summary.remembered);
    if let Some(cost) = cost {
        println!("{cost}");
    }
    Ok(())
}
