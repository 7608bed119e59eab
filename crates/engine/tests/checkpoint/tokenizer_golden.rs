//! The real base model's tokenizer and chat template agree with transformers (`tests/golden/README.md`).

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;
use tureen_engine::{Checkpoint, Message};

static BASE: LazyLock<Checkpoint> = LazyLock::new(|| {
    let path = root().join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.exists(), "{} is missing: run `cargo run -- pull`", path.display());
    Checkpoint::open(&path).unwrap()
});

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn lines<T: for<'de> Deserialize<'de>>(name: &str) -> Vec<T> {
    let text = std::fs::read_to_string(root().join("tests/golden").join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    decoded_without_special: String,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: String,
}

#[derive(Deserialize)]
struct Chat {
    messages: Vec<Turn>,
    rendered: String,
    ids: Vec<u32>,
}

#[test]
fn odd_texts_become_the_same_tokens() {
    let texts: Vec<Text> = lines("tokenizer_corpus.jsonl");
    assert!(texts.len() > 150);
    for Text { text, ids, decoded_without_special } in texts {
        assert_eq!(BASE.tokenizer().encode(&text, false).unwrap(), ids, "{text:?}");
        assert_eq!(BASE.tokenizer().encode(&text, true).unwrap(), ids, "{text:?}: this model adds nothing");
        assert_eq!(BASE.tokenizer().decode(&ids), decoded_without_special, "{text:?}");
    }
}

#[test]
fn conversations_become_the_same_text_and_tokens() {
    let chats: Vec<Chat> = lines("chat.jsonl");
    assert!(chats.len() >= 5);
    for Chat { messages, rendered, ids } in chats {
        let messages: Vec<_> = messages.into_iter().map(|Turn { role, content }| Message { role, content }).collect();
        assert_eq!(BASE.chat_template().unwrap().render(&messages, true).unwrap(), rendered);
        assert_eq!(BASE.tokenizer().encode(&rendered, false).unwrap(), ids);
    }
}
