//! Annotators, the judge against a server on this machine.

#![allow(clippy::unwrap_used)]

mod judge;
mod local;
mod stub;

use std::path::{Path, PathBuf};

use serde_json::json;
use tureen_trainer::annotate::{Annotator, Answers, Summary, annotate, read_answers};
use tureen_trainer::pairs::{self, Pair};

/// Writes `count` prompts with two answers each and reads them.
fn answers(folder: &Path, count: usize) -> Vec<Answers> {
    let line =
        |i: usize| json!({"prompt": format!("question {i}"), "answers": [format!("one {i}"), format!("two {i}")]});
    let text: Vec<String> = (0..count).map(|i| format!("{}\n", line(i))).collect();
    let path = folder.join("answers.jsonl");
    std::fs::write(&path, text.concat()).unwrap();
    read_answers(&path).unwrap()
}

fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("verdicts.jsonl"), folder.join("pairs.jsonl"))
}

/// Annotates in `folder` and returns what was written.
fn run(folder: &Path, answers: &[Answers], annotator: &mut dyn Annotator) -> Result<(Summary, Vec<Pair>), String> {
    let (verdicts, out) = paths(folder);
    let mut told = Vec::new();
    let watch = |done, all| told.push((done, all));
    let summary = annotate(answers, annotator, "tester", &verdicts, &out, watch).map_err(|error| error.to_string())?;
    assert_eq!(told, (1..=told.len()).map(|done| (done, told.len())).collect::<Vec<_>>());
    assert_eq!(told.len(), summary.pairs + summary.ties);
    Ok((summary, pairs::read(&out).unwrap()))
}
