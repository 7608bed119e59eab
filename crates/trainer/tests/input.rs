//! Bad input names what is wrong and where.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use tureen_engine::Checkpoint;
use tureen_trainer::config::Config;
use tureen_trainer::prompts::{Split, prepare, read, shared_prefix};

fn config_error(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, text).unwrap();
    Config::read(&path).unwrap_err().to_string()
}

const REST: &str = r#"
model = { base = "base" }
reward = { rule = "friendly" }
run = { out = "out" }
policy = { id = "a", code = "P", dimension = "d", instruction = "i", license = "MIT" }
"#;

#[test]
fn the_committed_configurations_are_valid() {
    for name in ["elementary", "friendly"] {
        let path = format!("{}/configs/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let config = Config::read(Path::new(&path)).unwrap();
        assert_eq!(config.policy.id, name);
        assert_eq!((config.lora.r, config.lora.lora_alpha), (16, 32.0));
    }
}

#[test]
fn unknown_keys_and_impossible_values_are_refused() {
    assert!(config_error(&format!("{REST}\n[ppo]\nlearning_rat = 1.0\n")).contains("learning_rat"));
    assert!(config_error(&format!("{REST}\n[ppo]\nppo_epochs = 0\n")).contains("ppo.ppo_epochs"));
    assert!(config_error(&format!("{REST}\n[ppo]\nbatch_size = 2\nmini_batch_size = 4\n")).contains("ppo.batch_size"));
    assert!(config_error(&format!("{REST}\n[ppo]\nlearning_rate = nan\n")).contains("ppo.learning_rate"));
    assert!(config_error(&format!("{REST}\n[ppo]\ntarget = -1.0\n")).contains("ppo.target"));
    assert!(config_error(&format!("{REST}\n[ppo]\nkl_gain = 40.0\n")).contains("ppo.kl_gain"));
    let missing = Config::read(Path::new("/nowhere/run.toml")).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/run.toml"), "{missing}");
}

#[test]
fn a_broken_line_of_a_prompt_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prompts.jsonl");
    std::fs::write(&path, "{\"prompt\": \"one\"}\n\n{\"prompt\": \"two\"}\n{\"promt\": \"three\"}\n").unwrap();
    let error = read(Some(&path), Split::Train).unwrap_err().to_string();
    assert!(error.contains("prompts.jsonl:4") && error.contains("prompt"), "{error}");
}

#[test]
fn the_built_in_sets_share_no_prompt() {
    let (train, heldout) = (read(None, Split::Train).unwrap(), read(None, Split::Heldout).unwrap());
    assert!(train.len() >= 100 && heldout.len() >= 30);
    assert!(heldout.iter().all(|prompt| !train.contains(prompt)));
}

#[test]
fn long_prompts_are_left_out_and_none_left_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    picollama::Base::llama().write(folder.path());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let texts = vec!["short".to_owned(), "x".repeat(200)];
    let prompts = prepare(&checkpoint, texts.clone(), 20).unwrap();
    assert_eq!(prompts.len(), 1);
    assert!(prompts[0].tokens.len() > 5);
    assert!(prepare(&checkpoint, texts, 1).unwrap_err().to_string().contains("at most 1 tokens"));
}

#[test]
fn the_shared_prefix_leaves_every_prompt_a_token_of_its_own() {
    assert_eq!(shared_prefix(&[vec![1, 2, 3], vec![1, 2, 4, 5]]), 2);
    assert_eq!(shared_prefix(&[vec![1, 2, 3], vec![1, 2, 3]]), 2);
    assert_eq!(shared_prefix(&[vec![1], vec![1, 2]]), 0);
    assert_eq!(shared_prefix(&[]), 0);
}
