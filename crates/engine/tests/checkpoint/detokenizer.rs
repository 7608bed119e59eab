//! Streaming a text loses nothing and changes nothing, whatever the tokens.

use std::sync::LazyLock;

use picollama::{Base, GgufType};
use proptest::prelude::*;
use tureen_engine::{Checkpoint, Tokenizer};

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    Base::llama().write_gguf(&path, GgufType::F32);
    Checkpoint::open(&path).unwrap().tokenizer().clone()
});
/// The library's own decoder, which knows no streaming.
static LIBRARY: LazyLock<tokenizers::Tokenizer> = LazyLock::new(|| TOKENIZER.to_json().unwrap().parse().unwrap());

/// The token of one byte.
fn byte(value: u8) -> u32 {
    3 + u32::from(value)
}

fn stream(ids: &[u32]) -> (String, Vec<String>) {
    let mut detokenizer = TOKENIZER.detokenizer();
    let mut deltas: Vec<String> = ids.iter().map(|&id| detokenizer.push(id)).collect();
    deltas.push(detokenizer.finish());
    (deltas.concat(), deltas)
}

#[test]
fn a_character_comes_with_its_last_byte() {
    let ids: Vec<u32> = "a😀é".bytes().map(byte).collect();
    assert_eq!(stream(&ids).1, ["a", "", "", "", "😀", "", "é", ""]);
}

#[test]
fn an_unfinished_character_is_the_tail() {
    assert_eq!(stream(&[byte(b'a'), byte(0xF0), byte(0x9F)]).1, ["a", "", "", "\u{FFFD}"]);
}

#[test]
fn invalid_bytes_do_not_hold_the_stream_up() {
    assert_eq!(stream(&[byte(0xFF), byte(b'a')]).1, ["\u{FFFD}", "a", ""]);
    assert_eq!(stream(&[byte(0xF0), byte(b'a')]).1, ["", "\u{FFFD}a", ""]);
    assert_eq!(stream(&[byte(0xE2), byte(0x82), byte(0xC3), byte(0xA9)]).1, ["", "", "\u{FFFD}", "é", ""]);
}

#[test]
fn a_replacement_character_of_the_text_is_text() {
    let ids: Vec<u32> = "\u{FFFD}x".bytes().map(byte).collect();
    assert_eq!(stream(&ids).1, ["", "", "\u{FFFD}", "x", ""]);
}

#[test]
fn special_and_unknown_ids_add_nothing() {
    assert_eq!(stream(&[0, 1, byte(b'a'), 2, 5000, u32::MAX]).0, "a");
    // A special token between its bytes does not break a character, as in the library.
    assert_eq!(stream(&[byte(0xC3), 2, byte(0xA9)]).0, "é");
}

#[test]
fn finishing_begins_a_new_text() {
    let mut detokenizer = TOKENIZER.detokenizer();
    detokenizer.push(byte(0xC3));
    assert_eq!(detokenizer.finish(), "\u{FFFD}");
    assert_eq!(detokenizer.push(byte(0xA9)), "\u{FFFD}");
    assert_eq!(detokenizer.finish(), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn streaming_loses_nothing(ids in prop::collection::vec(prop_oneof![0_u32..330, 130_u32..259], 0..32)) {
        let (streamed, _) = stream(&ids);
        prop_assert_eq!(&streamed, &TOKENIZER.decode(&ids));
        prop_assert_eq!(&streamed, &LIBRARY.decode(&ids, true).unwrap());
    }

    #[test]
    fn texts_come_back(text in any::<String>()) {
        let ids = TOKENIZER.encode(&text, true).unwrap();
        prop_assert_eq!(&stream(&ids).0, &text);
    }
}
