//! A chat template can neither hang the server nor eat its memory, and says why it refuses.

use std::time::Instant;

use crate::support::Gguf;
use picollama::{Base, GgufType};
use tureen_engine::{ChatError, Checkpoint, CheckpointError, Message};

fn open(template: &str) -> Result<Checkpoint, CheckpointError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    let mut gguf = Gguf::of(&Base::llama(), GgufType::F32);
    gguf.set_text("tokenizer.chat_template", template);
    gguf.write(&path);
    Checkpoint::open(&path)
}

fn render(template: &str, content: &str) -> Result<String, ChatError> {
    let message = Message { role: "user".into(), content: content.into() };
    open(template).unwrap().chat_template().unwrap().render(&[message], true)
}

#[test]
fn runaway_templates_end() {
    let start = Instant::now();
    for template in [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(99999) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{{ 'x' * 1000000000000 }}",
        "{{ ('x' * 100000000) | length }}",
        "{{ ['x'] * 1000000000000 }}",
        "{{ 'x' * 2000000 }}",
        "{% for i in range(100000) %}{{ messages[0].content }}{% endfor %}",
        "{{ messages[0].content.replace('x', 'x' * 10000).replace('x', 'x' * 10000) }}",
        "{{ messages | tojson(indent=99999999999) }}",
    ] {
        let error = render(template, &"x".repeat(1000)).expect_err(template);
        assert!(matches!(error, ChatError::Runaway | ChatError::Failed(_)), "{template}: {error:?}");
    }
    assert!(start.elapsed().as_secs() < 30, "took {:?}", start.elapsed());
}

#[test]
fn a_conversation_may_be_long() {
    let content = "long ".repeat(1 << 20);
    let template = "{% for message in messages %}<{{ message.role }}>{{ message['content'] }}{% endfor %}";
    assert_eq!(render(template, &content).unwrap(), format!("<user>{content}"));
    let checkpoint = open(template).unwrap();
    let messages = vec![Message { role: "user".into(), content: "a".into() }; 5000];
    assert_eq!(checkpoint.chat_template().unwrap().render(&messages, false).unwrap(), "<user>a".repeat(5000));
}

#[test]
fn the_templates_own_refusal_is_told_apart() {
    let refused = render("{{ raise_exception('Only two roles: ' ~ messages[0].role) }}", "x").unwrap_err();
    assert!(matches!(&refused, ChatError::Refused(reason) if reason == "Only two roles: user"), "{refused:?}");
    let failed = render("{{ messages[0].content.no_such_method() }}", "x").unwrap_err();
    assert!(matches!(failed, ChatError::Failed(_)), "{failed:?}");
    let failed = render("{{ messages[0].a.b }}", "x").unwrap_err();
    assert!(matches!(failed, ChatError::Failed(_)), "{failed:?}");
}

#[test]
fn content_is_never_a_template() {
    assert_eq!(
        render("{{ messages[0].content }}", "{{ 1 + 1 }}{% raw %}<&'\">").unwrap(),
        "{{ 1 + 1 }}{% raw %}<&'\">"
    );
}

#[test]
fn files_and_other_templates_are_out_of_reach() {
    for template in ["{% include '/etc/hostname' %}", "{% extends '/etc/hostname' %}", "{% import 'x' as x %}"] {
        assert!(matches!(render(template, "x"), Err(ChatError::Failed(_))), "{template}");
    }
}

#[test]
fn tokens_and_the_date_are_known() {
    assert_eq!(render("{{ bos_token }}{{ eos_token }}", "x").unwrap(), "<|im_start|><|im_end|>");
    let date = render("{{ strftime_now('%d %b %Y') }}", "x").unwrap();
    assert!(date.len() == 11 && date.ends_with(|c: char| c.is_ascii_digit()), "{date}");
    assert!(matches!(render("{{ strftime_now('%Q') }}", "x"), Err(ChatError::Failed(_))));
}

#[test]
fn broken_templates_are_refused_when_opened() {
    for template in ["{% for", "{{ 1 +", "{% endif %}", "{% nonsense %}", &"{% if true %}".repeat(100_000)] {
        assert!(matches!(open(template), Err(CheckpointError::Chat(ChatError::Template(_)))));
    }
    assert!(open(&"x".repeat((1 << 20) + 1)).is_err());
}

#[test]
fn a_model_without_a_template_opens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    let mut gguf = Gguf::of(&Base::llama(), GgufType::F32);
    gguf.remove("tokenizer.chat_template");
    gguf.write(&path);
    assert!(Checkpoint::open(&path).unwrap().chat_template().is_none());
}
