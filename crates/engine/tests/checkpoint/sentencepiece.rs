//! A GGUF with a SentencePiece vocabulary tokenises as sentencepiece does (`data/make.py`).

use std::sync::LazyLock;

use crate::support::Gguf;
use picollama::{Base, GgufType};
use proptest::prelude::*;
use serde::Deserialize;
use tureen_engine::{Checkpoint, Tokenizer};

#[derive(Deserialize)]
struct Golden {
    tokens: Vec<String>,
    scores: Vec<f32>,
    types: Vec<i32>,
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

static GOLDEN: LazyLock<Golden> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/sentencepiece.json")).unwrap());
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| tokenizer(|_| {}));

fn tokenizer(change: impl FnOnce(&mut Gguf)) -> Tokenizer {
    let mut gguf = Gguf::of(&Base { vocab: GOLDEN.tokens.len(), ..Base::llama() }, GgufType::F32);
    gguf.set_text("tokenizer.ggml.model", "llama");
    gguf.set_text("tokenizer.ggml.pre", "default");
    gguf.set_strings("tokenizer.ggml.tokens", &GOLDEN.tokens);
    let scores: Vec<u8> = GOLDEN.scores.iter().flat_map(|score| score.to_le_bytes()).collect();
    gguf.set_array("tokenizer.ggml.scores", 6, GOLDEN.scores.len() as u64, &scores);
    let types: Vec<u8> = GOLDEN.types.iter().flat_map(|kind| kind.to_le_bytes()).collect();
    gguf.set_array("tokenizer.ggml.token_type", 5, GOLDEN.types.len() as u64, &types);
    gguf.set_u32("tokenizer.ggml.unknown_token_id", 0);
    gguf.remove("tokenizer.ggml.merges");
    gguf.remove("tokenizer.ggml.add_bos_token");
    change(&mut gguf);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pieces.gguf");
    gguf.write(&path);
    Checkpoint::open(&path).unwrap().tokenizer().clone()
}

#[test]
fn odd_texts_become_the_same_tokens() {
    assert!(GOLDEN.texts.len() > 150);
    for Text { text, ids, decoded } in &GOLDEN.texts {
        assert_eq!(TOKENIZER.encode(text, false).unwrap(), *ids, "{text:?}");
        assert_eq!(TOKENIZER.decode(ids), *decoded, "{text:?}");
    }
}

#[test]
fn a_begin_token_is_added_unless_the_file_says_no() {
    let ids = TOKENIZER.encode("Hello", false).unwrap();
    assert_eq!(TOKENIZER.encode("Hello", true).unwrap(), [&[1], &ids[..]].concat());
    let none = tokenizer(|gguf| gguf.set_bool("tokenizer.ggml.add_bos_token", false));
    assert_eq!(none.encode("Hello", true).unwrap(), ids);
    let both = tokenizer(|gguf| gguf.set_bool("tokenizer.ggml.add_eos_token", true));
    assert_eq!(both.encode("Hello", true).unwrap(), [&[1], &ids[..], &[2]].concat());
}

#[test]
fn special_tokens_in_a_text_count_as_such() {
    assert_eq!(TOKENIZER.encode("<|user|>", false).unwrap(), [3]);
    assert_eq!(TOKENIZER.decode(&[1, 3, 2]), "");
    // Defined by the user: in one piece, but text.
    assert_eq!(TOKENIZER.encode("<think>", false).unwrap(), [4]);
    assert_eq!(TOKENIZER.decode(&[4]), "<think>");
}

#[test]
fn without_a_prefix_nothing_is_stripped() {
    let tokenizer = tokenizer(|gguf| gguf.set_bool("tokenizer.ggml.add_space_prefix", false));
    for text in [" a", "a", "  a b", ""] {
        let ids = tokenizer.encode(text, false).unwrap();
        assert_eq!(tokenizer.decode(&ids), text);
    }
}

#[test]
fn a_run_of_bytes_is_text_only_as_a_whole() {
    let byte = |value: u32| 5 + value;
    assert_eq!(TOKENIZER.decode(&[byte(0xC3), byte(0xA9)]), "é");
    assert_eq!(TOKENIZER.decode(&[byte(0xC3), byte(0xA9), byte(0xC3)]), "\u{FFFD}\u{FFFD}\u{FFFD}");
    let mut detokenizer = TOKENIZER.detokenizer();
    assert_eq!(detokenizer.push(byte(0xC3)) + &detokenizer.push(byte(0xA9)), "");
    let t = TOKENIZER.id("▁t").unwrap();
    assert_eq!(detokenizer.push(t), "é t");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn streaming_loses_nothing(ids in prop::collection::vec(prop_oneof![5_u32..261, 0_u32..720], 0..24)) {
        let library: tokenizers::Tokenizer = TOKENIZER.to_json().unwrap().parse().unwrap();
        let mut detokenizer = TOKENIZER.detokenizer();
        let mut streamed: String = ids.iter().map(|&id| detokenizer.push(id)).collect();
        streamed.push_str(&detokenizer.finish());
        prop_assert_eq!(&streamed, &TOKENIZER.decode(&ids));
        prop_assert_eq!(&streamed, &library.decode(&ids, true).unwrap());
    }
}
