//! Bad input names what is wrong and where.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use tureen_engine::{Checkpoint, Message};
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

fn prompts(name: &str, text: &str) -> Result<Vec<Vec<Message>>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    read(Some(&path), Split::Train).map_err(|error| error.to_string())
}

fn turn(role: &str, content: &str) -> Message {
    Message { role: role.into(), content: content.into() }
}

#[test]
fn prompts_are_read_from_text_alpaca_lines_and_chats() {
    let both = vec![vec![turn("user", "one")], vec![turn("user", "two\n\nof these")]];
    assert_eq!(prompts("a.txt", "one\n\n  two \n").unwrap()[1], [turn("user", "two")]);
    let alpaca = r#"[{"instruction": "one", "input": "", "output": "x"}, {"instruction": "two", "input": "of these"}]"#;
    assert_eq!(prompts("a.json", alpaca).unwrap(), both);
    let lines = "{\"prompt\": \"one\"}\n{\"instruction\": \"two\", \"input\": \"of these\"}\n";
    assert_eq!(prompts("a.jsonl", lines).unwrap(), both);
    let chat = r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}, {"role": "assistant", "content": "b"}]}"#;
    let turns = [turn("system", "s"), turn("user", "u"), turn("assistant", "a"), turn("user", "v")];
    assert_eq!(prompts("a.jsonl", &chat.replace('\n', "")).unwrap(), [turns]);
}

#[test]
fn a_broken_line_of_a_prompt_file_is_named() {
    let good = "{\"prompt\": \"one\"}\n\n";
    let of = |line: &str| prompts("prompts.jsonl", &format!("{good}{line}\n")).unwrap_err();
    for (line, field) in [
        ("{\"promt\": \"three\"}", "\"prompt\" is missing"),
        ("{\"prompt\": 3}", "\"prompt\" is no text"),
        ("{\"instruction\": \"a\", \"input\": []}", "\"input\" is no text"),
        ("{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}", "\"messages\" has no last turn of a user"),
        ("{\"messages\": []}", "\"messages\" holds no turn"),
        ("nonsense", "expected"),
    ] {
        let error = of(line);
        assert!(error.contains("prompts.jsonl:3: ") && error.contains(field), "{error}");
    }
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
    let texts = vec![vec![turn("user", "short")], vec![turn("user", &"x".repeat(200))]];
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
