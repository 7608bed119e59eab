//! The judge over the wire.

use std::process::Command;
use std::time::{Duration, Instant};

use tureen_trainer::annotate::judge::{Judge, JudgeOptions, Usage};

use super::stub::{Request, Stub, says};
use super::{answers, run};

fn options(stub: &Stub) -> JudgeOptions {
    JudgeOptions {
        endpoint: stub.endpoint(),
        model: "judge-1".into(),
        criterion: "is shorter".into(),
        api_key_env: None,
        requests_per_minute: 1e6,
        retries: 3,
        retry_wait_ms: 1,
        timeout_s: 60.0,
        seed: 5,
        price_input: 2.0,
        price_output: 10.0,
    }
}

fn judge(stub: &Stub) -> Judge {
    Judge::new(options(stub)).unwrap()
}

#[test]
fn a_judge_that_always_takes_the_first_shown_prefers_neither_side() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start(|_, _| says("A"));
    let mut judge = judge(&stub);
    let (summary, pairs) = run(folder.path(), &answers(folder.path(), 40), &mut judge).unwrap();
    assert_eq!(summary.pairs, 40);
    let requests = stub.requests();
    for (pair, request) in pairs.iter().zip(&requests) {
        assert_eq!((&pair.chosen, &pair.rejected), (&request.answer("A"), &request.answer("B")));
        assert!(request.line.starts_with("POST /v1/chat/completions "), "{}", request.line);
        assert_eq!(request.body["model"], "judge-1");
        let content = |turn: usize| request.body["messages"][turn]["content"].as_str().unwrap();
        assert!(content(0).contains("is shorter") && content(1).contains(&pair.prompt[0].content));
    }
    let ones = pairs.iter().filter(|pair| pair.chosen.starts_with("one")).count();
    assert!((8..=32).contains(&ones), "{ones} of 40");
    assert_eq!(judge.usage(), Usage { requests: 40, input: 4000, output: 80 });
    assert!((judge.cost() - (4000.0 * 2.0 + 80.0 * 10.0) / 1e6).abs() < 1e-12);
}

#[test]
fn a_judge_with_an_opinion_is_heard_in_either_order() {
    let folder = tempfile::tempdir().unwrap();
    let prefers_two = |request: &Request| says(if request.answer("A").starts_with("two") { "A" } else { "Answer B." });
    let stub = Stub::start(move |_, request| prefers_two(request));
    let (_, pairs) = run(folder.path(), &answers(folder.path(), 20), &mut judge(&stub)).unwrap();
    assert_eq!(pairs.len(), 20);
    assert!(pairs.iter().all(|pair| pair.chosen.starts_with("two") && pair.rejected.starts_with("one")));
}

#[test]
fn ties_and_answers_that_are_none_make_no_pair() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start(|index, _| says(["tie", "I would rather not say.", "Both."][index.min(2)]));
    let (summary, pairs) = run(folder.path(), &answers(folder.path(), 2), &mut judge(&stub)).unwrap();
    assert_eq!((summary.ties, pairs.len()), (2, 0));
    assert_eq!(stub.requests().len(), 3, "an unclear answer is asked for once more");
}

#[test]
fn what_passes_is_asked_again_and_what_stays_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start(|index, _| match index {
        0 => (429, "retry-after: 0\r\n", "slow down".into()),
        1 => (503, "", "busy".into()),
        2 => says("B"),
        _ => (401, "", "no such key".into()),
    });
    let answers = answers(folder.path(), 2);
    let error = run(folder.path(), &answers, &mut judge(&stub)).unwrap_err();
    assert!(error.contains("401") && error.contains("no such key"), "{error}");
    assert_eq!(stub.requests().len(), 4);

    // The verdict that was paid for is kept.
    let good = Stub::start(|_, _| says("A"));
    let (summary, _) = run(folder.path(), &answers, &mut judge(&good)).unwrap();
    assert_eq!((summary.remembered, good.requests().len()), (1, 1));
}

#[test]
fn a_judge_that_stays_busy_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start(|_, _| (500, "", "broken".into()));
    let error = run(folder.path(), &answers(folder.path(), 1), &mut judge(&stub)).unwrap_err();
    assert!(error.contains("500"), "{error}");
    assert_eq!(stub.requests().len(), 4, "once and three times again");
}

#[test]
fn requests_keep_their_distance() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start(|_, _| says("A"));
    let mut judge = Judge::new(JudgeOptions { requests_per_minute: 3000.0, ..options(&stub) }).unwrap();
    let start = Instant::now();
    run(folder.path(), &answers(folder.path(), 6), &mut judge).unwrap();
    // A lower bound holds on the busiest machine.
    assert!(start.elapsed() >= Duration::from_millis(5 * 20));
}

#[test]
fn an_answer_that_is_no_completion_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start(|_, _| (200, "", "<html>hello</html>".into()));
    let error = run(folder.path(), &answers(folder.path(), 1), &mut judge(&stub)).unwrap_err();
    assert!(error.contains("no chat completion"), "{error}");
}

#[test]
fn the_command_sends_the_key_and_prints_the_cost() {
    let folder = tempfile::tempdir().unwrap();
    answers(folder.path(), 3);
    let stub = Stub::start(|_, _| says("A"));
    let at = |name: &str| folder.path().join(name).display().to_string();
    let config = format!(
        "answers = '{}'\nout = '{}'\n[annotator.judge]\nendpoint = '{}'\nmodel = 'm'\ncriterion = 'is kind'\n\
         api_key_env = 'JUDGE_KEY'\nrequests_per_minute = 100000\nprice_input = 1.0\n",
        at("answers.jsonl"),
        at("pairs.jsonl"),
        stub.endpoint()
    );
    std::fs::write(at("annotate.toml"), config).unwrap();
    let command = |key: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tureen-trainer"));
        command.args(["annotate", "--config", &at("annotate.toml")]).env_remove("JUDGE_KEY");
        if key {
            command.env("JUDGE_KEY", "canary-key");
        }
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (succeeded, text) = command(false);
    assert!(!succeeded && text.contains("JUDGE_KEY is not set"), "{text}");
    let (succeeded, text) = command(true);
    assert!(succeeded && text.contains("3 pairs, 0 ties") && text.contains("300 tokens read"), "{text}");
    assert!(text.contains("cost 0.0003") && !text.contains("canary-key"), "{text}");
    assert!(stub.requests().iter().all(|request| request.authorization.as_deref() == Some("Bearer canary-key")));
}
