//! Chat templates render as transformers renders them (`data/make.py`).

use crate::support::Gguf;
use picollama::{Base, GgufType};
use serde::Deserialize;
use tureen_engine::{ChatError, Checkpoint, Message};

#[derive(Deserialize)]
struct Golden {
    name: String,
    template: String,
    messages: Vec<Turn>,
    prompt: bool,
    rendered: Option<String>,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: String,
}

#[test]
fn templates_render_as_in_transformers() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("../data/chat.json")).unwrap();
    assert!(golden.len() > 100);
    let whole = Gguf::of(&Base::llama(), GgufType::F32);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    let mut different = Vec::new();
    for case in golden {
        let mut gguf = whole.clone();
        gguf.set_text(
            "tokenizer.chat_template",
            &case.template.replace("bos_token", "'<s>'").replace("eos_token", "'</s>'"),
        );
        gguf.write(&path);
        let checkpoint = Checkpoint::open(&path).unwrap();
        let messages: Vec<_> =
            case.messages.into_iter().map(|Turn { role, content }| Message { role, content }).collect();
        let outcome = checkpoint.chat_template().unwrap().render(&messages, case.prompt);
        let same = match (&outcome, &case.rendered, &case.refused) {
            (Ok(text), Some(expected), None) => text == expected,
            (Err(ChatError::Refused(reason)), None, Some(expected)) => reason == expected,
            _ => false,
        };
        if !same {
            different.push(format!("{}: {outcome:?}, expected {:?} {:?}", case.name, case.rendered, case.refused));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
