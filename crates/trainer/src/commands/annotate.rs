//! `annotate`: answers to preference pairs.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::annotate::judge::{Judge, JudgeOptions};
use crate::annotate::{Annotator, Human, Rules, annotate as compare_all, read_answers};
use crate::error::TrainError;
use crate::reward::{GateOptions, Rule, RuleReward};

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
    /// Who compares.
    pub annotator: AnnotatorOptions,
}

/// Who compares: one table, `[annotator.rules]`, `[annotator.human]` or `[annotator.judge]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AnnotatorOptions {
    /// A rule with its content gate.
    Rules {
        /// The built-in rule.
        rule: Rule,
        /// A difference of scores (0 to 1) up to which neither answer is preferred.
        #[serde(default = "tenth")]
        margin: f64,
    },
    /// Pairs that people made.
    Human {
        /// The pair file, of any shape that [`crate::pairs::read`] knows.
        pairs: PathBuf,
    },
    /// A model behind an OpenAI-compatible endpoint.
    Judge(JudgeOptions),
}

fn tenth() -> f64 {
    0.1
}

impl AnnotateConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// A file that cannot be read, unknown keys, or values that cannot be used.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
        let invalid = |message: String| TrainError::Config { path: path.to_owned(), message };
        let config: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        match &config.annotator {
            AnnotatorOptions::Rules { margin, .. } if !(0.0..1.0).contains(margin) => {
                Err(invalid("annotator.rules.margin must be from 0 to below 1".into()))
            }
            AnnotatorOptions::Judge(judge) => judge.check().map(|()| config.clone()).map_err(invalid),
            _ => Ok(config),
        }
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
    let verdicts = out.with_extension("verdicts.jsonl");
    let identity = identity(&options);
    let run = |annotator: &mut dyn Annotator| compare_all(&answers, annotator, &identity, &verdicts, &out);
    let (summary, cost) = match options {
        AnnotatorOptions::Rules { rule, margin } => {
            let reward = RuleReward { rule, power: 1.0, gate: GateOptions::default() };
            (run(&mut Rules { reward, margin })?, None)
        }
        AnnotatorOptions::Human { pairs } => (run(&mut Human::read(&pairs)?)?, None),
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
    };
    println!("{} pairs, {} ties, {} taken up from before", summary.pairs, summary.ties, summary.remembered);
    if let Some(cost) = cost {
        println!("{cost}");
    }
    Ok(())
}

/// What decides a verdict, and not how fast or dear it is.
fn identity(options: &AnnotatorOptions) -> String {
    match options {
        AnnotatorOptions::Rules { rule, margin } => format!("rules {rule:?} margin {margin}"),
        AnnotatorOptions::Human { pairs } => format!("human {}", pairs.display()),
        AnnotatorOptions::Judge(judge) => format!("judge {} seed {}: {}", judge.model, judge.seed, judge.criterion),
    }
}
