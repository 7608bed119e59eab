//! Several policies side by side, from the command line.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use tureen_trainer::metrics;

/// Configurations of `names` over one tiny base; one called `broken` has none.
fn prepare(folder: &Path, names: &[&str]) {
    let base = folder.join("base");
    std::fs::create_dir_all(&base).unwrap();
    std::fs::create_dir_all(folder.join("configs")).unwrap();
    picollama::Base::llama().write(&base);
    std::fs::write(folder.join("prompts.txt"), "What is a cat?\nWhy do we eat?\n").unwrap();
    for name in names {
        let base = if *name == "broken" { folder.join("nowhere") } else { base.clone() };
        let text = format!(
            "policy = {{ id = '{name}', code = 'P0', dimension = 'd', instruction = 'i', license = 'MIT' }}\n\
             model = {{ base = '{base}' }}\nprompts = {{ train = '{prompts}', max_prompt_tokens = 64 }}\n\
             generation = {{ output_min_length = 4, output_max_length = 6 }}\nreward = {{ rule = 'friendly' }}\n\
             ppo = {{ steps = 2, batch_size = 2, mini_batch_size = 2 }}\nrun = {{ out = '{out}' }}\n",
            base = base.display(),
            prompts = folder.join("prompts.txt").display(),
            out = folder.join(name).display(),
        );
        std::fs::write(folder.join(format!("configs/{name}.toml")), text).unwrap();
    }
}

fn train(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tureen-trainer"));
    let output = command.args(["ppo", "--configs"]).arg(folder.join("configs")).args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn steps(folder: &Path, name: &str) -> usize {
    metrics::read(&folder.join(name).join("metrics.jsonl")).unwrap().len()
}

#[test]
fn all_configurations_of_a_folder_are_trained() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), &["a", "b", "c"]);
    let (succeeded, text) = train(folder.path(), &["--jobs", "2"]);
    assert!(succeeded, "{text}");
    assert_eq!(["a", "b", "c"].map(|name| steps(folder.path(), name)), [2, 2, 2]);
    assert_eq!(text.matches(": done").count(), 3);
    // Options reach every run, and a run that goes on does what is left.
    let (succeeded, text) = train(folder.path(), &["--jobs", "3", "--resume", "--steps", "3"]);
    assert!(succeeded, "{text}");
    assert_eq!(["a", "b", "c"].map(|name| steps(folder.path(), name)), [3, 3, 3]);
}

#[test]
fn a_run_that_fails_stops_no_other_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), &["a", "broken", "c"]);
    let (succeeded, text) = train(folder.path(), &[]);
    assert!(!succeeded && text.contains("failed: ") && text.contains("broken.toml"), "{text}");
    assert_eq!(["a", "c"].map(|name| steps(folder.path(), name)), [2, 2]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), &[]);
    let (succeeded, text) = train(folder.path(), &[]);
    assert!(!succeeded && text.contains("no configuration"), "{text}");
    for arguments in [["--jobs", "0"], ["--jobs", "257"]] {
        assert!(!train(folder.path(), &arguments).0);
    }
    assert!(!train(folder.path(), &["--index", "0", "--jobs", "2"]).0);
    let (succeeded, text) = train(folder.path(), &["--out", "x"]);
    assert!(!succeeded && text.contains("--out is for one run"), "{text}");
}
