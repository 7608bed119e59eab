//! Pair files of every shape, and what a broken one says.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use tempfile::TempDir;
use tureen_engine::Message;
use tureen_trainer::pairs::{Pair, read, write};

fn file(name: &str, text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn turn(role: &str, content: &str) -> Message {
    Message { role: role.into(), content: content.into() }
}

fn sky() -> Pair {
    Pair { prompt: vec![turn("user", "The sky is")], chosen: "blue.".into(), rejected: "green.".into() }
}

#[track_caller]
fn reads(line: &str, expected: &Pair) {
    let (_folder, path) = file("pairs.jsonl", line);
    assert_eq!(read(&path).unwrap(), std::slice::from_ref(expected), "{line}");
}

#[track_caller]
fn refuses(line: &str, words: &[&str]) {
    let (_folder, path) =
        file("pairs.jsonl", &format!("{{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}}\n\n{line}\n"));
    let error = read(&path).unwrap_err().to_string();
    let missing: Vec<_> = ["pairs.jsonl:3: "].iter().chain(words).filter(|word| !error.contains(**word)).collect();
    assert!(missing.is_empty(), "{error} lacks {missing:?}");
}

#[test]
fn the_four_shapes_of_trl_and_the_methods_own_are_one_pair() {
    let user = r#"{"role":"user","content":"The sky is"}"#;
    let blue = r#"{"role":"assistant","content":"blue."}"#;
    let green = r#"{"role":"assistant","content":"green."}"#;
    reads(r#"{"prompt":"The sky is","chosen":"blue.","rejected":"green.","score":3}"#, &sky());
    reads(r#"{"chosen":"The sky is blue.","rejected":"The sky is green."}"#, &sky());
    reads(&format!(r#"{{"prompt":[{user}],"chosen":[{blue}],"rejected":[{green}]}}"#), &sky());
    reads(&format!(r#"{{"chosen":[{user},{blue}],"rejected":[{user},{green}]}}"#), &sky());
    reads(r#"{"user_input":"The sky is","completion_a":"blue.","completion_b":"green."}"#, &sky());
}

#[test]
fn an_array_and_lines_hold_the_same_pairs() {
    let one = r#"{"prompt":"The sky is","chosen":"blue.","rejected":"green."}"#;
    let (_folder, path) = file("pairs.json", &format!("[\n  {one},\n  {one}\n]\n"));
    assert_eq!(read(&path).unwrap(), [sky(), sky()]);
}

#[test]
fn transcripts_become_turns() {
    let text = |answer: &str| {
        format!("\\n\\nHuman: Hi.\\n\\nAssistant: Hello!\\n\\nHuman: The sky is\\n\\nAssistant: {answer}")
    };
    let pair =
        Pair { prompt: vec![turn("user", "Hi."), turn("assistant", "Hello!"), turn("user", "The sky is")], ..sky() };
    reads(&format!(r#"{{"chosen":"{}","rejected":"{}"}}"#, text("blue."), text("green.")), &pair);
}

#[test]
fn what_is_written_is_read_again() {
    let long = Pair { prompt: vec![turn("system", "Be brief."), turn("user", "Sky?\n\"Why\"")], ..sky() };
    let (_folder, path) = file("pairs.jsonl", "");
    write(&path, &[sky(), long.clone()]).unwrap();
    assert_eq!(read(&path).unwrap(), [sky(), long]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(r#"{"prompt":"The sky is","chosen":"blue.","rejected":"green."}"#), "{text}");
}

#[test]
fn equal_answers_are_no_pair() {
    let (_folder, path) = file("pairs.jsonl", r#"{"prompt":"a","chosen":"b","rejected":"b"}"#);
    assert!(read(&path).unwrap().is_empty());
}

#[test]
fn a_broken_line_names_file_line_and_field() {
    refuses(r#"{"prompt":"a","chosen":"b"}"#, &["\"rejected\"", "missing"]);
    refuses(r#"{"prompt":"a","chosen":"b","rejected":7}"#, &["\"rejected\"", "no text"]);
    refuses(r#"{"prompt":"a","chosen":"  ","rejected":"c"}"#, &["\"chosen\"", "empty"]);
    refuses(r#"{"prompt":[{"role":"user"}],"chosen":"b","rejected":"c"}"#, &["\"prompt[0].content\""]);
    refuses(r#"{"prompt":"a","chosen":[{"role":"user","content":"b"}],"rejected":"c"}"#, &["\"chosen\"", "assistant"]);
    refuses(r#"{"user_input":"a","completion_a":"b"}"#, &["\"completion_b\"", "missing"]);
    refuses(r#"{"chosen":"yes","rejected":"no"}"#, &["\"prompt\"", "begin differently"]);
    refuses(
        r#"{"chosen":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],
            "rejected":[{"role":"user","content":"x"},{"role":"assistant","content":"c"}]}"#
            .replace('\n', "")
            .as_str(),
        &["\"rejected\"", "another prompt"],
    );
    refuses("{\"prompt\":", &["EOF"]);
    refuses("[]", &["no JSON object"]);
}

#[test]
fn a_line_that_is_no_utf_8_is_named() {
    let (_folder, path) = file("pairs.jsonl", "");
    let line = |answer: &[u8]| [br#"{"prompt":"a","chosen":""#, answer, br#"","rejected":"c"}"#, b"\n"].concat();
    std::fs::write(&path, [line("grün".as_bytes()), line(b"gr\xfcn"), line(b"b")].concat()).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("pairs.jsonl:2: ") && error.contains("UTF-8"), "{error}");
}

#[test]
fn a_broken_entry_of_an_array_names_its_line() {
    let good = "{\"prompt\": \"a\",\n \"chosen\": \"b\", \"rejected\": \"c\"}";
    let (_folder, path) = file("pairs.json", &format!("[{good},\n\n{good}, {{\n\"prompt\": 1}}]"));
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("pairs.json:5: ") && error.contains("\"prompt\""), "{error}");
}
