//! Prompts to answers, on the engine.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tureen_trainer::annotate::read_answers;

/// A tiny base, prompts, and a configuration with `more` lines.
fn write(folder: &Path, more: &str) {
    let base = folder.join("base");
    std::fs::create_dir_all(&base).unwrap();
    picollama::Base::llama().write(&base);
    let prompts: String = (0..20).map(|i| format!("What is number {i}?\n")).collect();
    std::fs::write(folder.join("prompts.txt"), prompts).unwrap();
    let config = format!(
        "out = '{out}'\nmodel = {{ base = '{base}' }}\nprompts = {{ file = '{prompts}' }}\n\
         generation = {{ max_new_tokens = 12, seed = 3{more} }}\n\
         [[preferences]]\nid = 'plain'\ninstruction = 'Use plain words.'\nopposite = 'Use learned words.'\n\
         [[preferences]]\nid = 'kind'\ninstruction = 'Be kind.'\n",
        out = folder.join("answers").display(),
        base = base.display(),
        prompts = folder.join("prompts.txt").display(),
    );
    std::fs::write(folder.join("rollout.toml"), config).unwrap();
}

fn rollout(folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tureen-trainer"));
    command.env("NO_COLOR", "1").args(["rollout", "--config"]).arg(folder.join("rollout.toml")).output().unwrap()
}

#[track_caller]
fn text(output: &Output, success: bool) -> String {
    let text = String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap();
    assert_eq!(output.status.success(), success, "{text}");
    text
}

#[test]
fn every_prompt_is_answered_in_all_ways() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "");
    let said = text(&rollout(folder.path()), true);
    for line in ["done=16 all=20", "done=20 all=20"] {
        assert_eq!(said.matches(line).count(), 2, "{said}");
    }
    for (name, ways) in [("plain", 3), ("kind", 2)] {
        let path = folder.path().join(format!("answers/{name}.jsonl"));
        let answers = read_answers(&path).unwrap();
        assert_eq!(answers.len(), 20);
        for (index, answer) in answers.iter().enumerate() {
            assert_eq!(answer.prompt[0].content, format!("What is number {index}?"), "the prompt without instruction");
            assert_eq!(answer.answers.len(), ways);
        }
        let all: Vec<&String> = answers.iter().flat_map(|answer| &answer.answers).collect();
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert!(different.len() > all.len() / 2, "{} different of {}", different.len(), all.len());
        let first: Value =
            serde_json::from_str(std::fs::read_to_string(path).unwrap().lines().next().unwrap()).unwrap();
        let instruction = if name == "plain" { "Use plain words." } else { "Be kind." };
        assert_eq!(first["instructions"][0], instruction);
        assert_eq!(first["instructions"][ways - 1], Value::Null);
    }
}

#[test]
fn a_rollout_that_was_cut_off_ends_as_if_it_had_not_been() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "");
    text(&rollout(folder.path()), true);
    let path = folder.path().join("answers/plain.jsonl");
    let whole = std::fs::read(&path).unwrap();
    // A crash in the middle of the eighteenth line.
    let ends: Vec<usize> = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    std::fs::write(&path, &whole[..ends[16] + 40]).unwrap();
    let said = text(&rollout(folder.path()), true);
    assert!(said.contains("3 prompts answered, 17 taken up"), "{said}");
    assert!(said.contains("0 prompts answered, 20 taken up"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn a_rollout_that_was_cut_off_within_a_character_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "");
    std::fs::write(folder.path().join("prompts.txt"), "What is a cat?\nWhy is the sky grün?\n").unwrap();
    text(&rollout(folder.path()), true);
    let path = folder.path().join("answers/kind.jsonl");
    let whole = std::fs::read(&path).unwrap();
    let umlaut = whole.windows(2).rposition(|bytes| bytes == "ü".as_bytes()).unwrap();
    std::fs::write(&path, &whole[..=umlaut]).unwrap();
    let said = text(&rollout(folder.path()), true);
    assert!(said.contains("1 prompts answered, 1 taken up"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn another_rollout_does_not_go_on_in_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "");
    text(&rollout(folder.path()), true);
    let before = std::fs::read(folder.path().join("answers/plain.jsonl")).unwrap();
    write(folder.path(), ", temperature = 0.5");
    let said = text(&rollout(folder.path()), false);
    assert!(said.contains("another rollout"), "{said}");
    assert_eq!(std::fs::read(folder.path().join("answers/plain.jsonl")).unwrap(), before);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (more, words) in [
        (", answers = 6", "18 answers"),
        (", answers = 0", "0 answers"),
        (", temperature = 0.0", "out of bounds"),
        (", top_p = nan", "out of bounds"),
        (", beams = 4", "beams"),
    ] {
        write(folder.path(), more);
        let said = text(&rollout(folder.path()), false);
        assert!(said.contains("rollout.toml") && said.contains(words), "{said}");
    }
}
