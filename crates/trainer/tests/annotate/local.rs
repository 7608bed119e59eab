//! Annotators that need nobody: rules and pair files.

use tureen_trainer::annotate::{Answers, Choice, Comparison, Human, Rules, read_answers};
use tureen_trainer::error::TrainError;
use tureen_trainer::reward::{GateOptions, Rule, RuleReward};

use std::process::Command;

use super::{Annotator, answers, paths, run};

const PLAIN: &str = "Plants make food from light. The leaves take in sun and air. The roots drink water from the soil.";
const LEARNED: &str = "Photosynthesis constitutes the fundamental biochemical mechanism whereby autotrophic organisms \
                       synthesise carbohydrates from atmospheric carbon dioxide, manufacturing plant food.";

#[test]
fn rules_prefer_the_better_answer_and_tie_within_the_margin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.jsonl");
    let line = serde_json::json!({"prompt": "How do plants make their food?", "answers": [LEARNED, PLAIN, PLAIN, ""]});
    std::fs::write(&path, line.to_string()).unwrap();
    let answers = read_answers(&path).unwrap();
    let reward = RuleReward { rule: Rule::Elementary, power: 1.0, gate: GateOptions::default() };
    let (summary, pairs) = run(folder.path(), &answers, &mut Rules { reward: reward.clone(), margin: 0.05 }).unwrap();
    // Two comparisons with the learned one; equal answers are none, nor are those with an empty one.
    assert_eq!((summary.pairs, summary.ties, pairs.len()), (2, 0, 2));
    assert!(pairs.iter().all(|pair| pair.chosen == PLAIN && pair.rejected == LEARNED), "{pairs:?}");

    let (first, rest) = PLAIN.split_once(". ").unwrap();
    let turned = Answers { prompt: answers[0].prompt.clone(), answers: vec![PLAIN.into(), format!("{rest} {first}.")] };
    let other = tempfile::tempdir().unwrap();
    let (summary, pairs) = run(other.path(), &[turned], &mut Rules { reward, margin: 0.05 }).unwrap();
    assert_eq!((summary.pairs, summary.ties, pairs.len()), (0, 1, 0));
}

#[test]
fn people_are_looked_up_and_unknown_comparisons_are_ties() {
    let folder = tempfile::tempdir().unwrap();
    let human = folder.path().join("human.jsonl");
    let lines = [
        r#"{"user_input": "question 0", "completion_a": "two 0", "completion_b": "one 0"}"#,
        r#"{"prompt": "question 1", "chosen": "one 1", "rejected": "two 1"}"#,
        r#"{"prompt": "question 2", "chosen": "one 2", "rejected": "two 2"}"#,
        r#"{"prompt": "question 2", "chosen": "two 2", "rejected": "one 2"}"#,
    ];
    std::fs::write(&human, lines.join("\n")).unwrap();
    let answers = answers(folder.path(), 4);
    let (summary, pairs) = run(folder.path(), &answers, &mut Human::read(&human).unwrap()).unwrap();
    let chosen: Vec<&str> = pairs.iter().map(|pair| pair.chosen.as_str()).collect();
    assert_eq!(chosen, ["two 0", "one 1"]);
    assert_eq!(summary.ties, 2);
}

#[test]
fn verdicts_from_other_pairs_are_not_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    answers(folder.path(), 1);
    let at = |name: &str| folder.path().join(name);
    let config = format!(
        "answers = '{}'\nout = '{}'\n[annotator.human]\npairs = '{}'\n",
        at("answers.jsonl").display(),
        // The folder is made.
        at("made/pairs.jsonl").display(),
        at("human.jsonl").display()
    );
    std::fs::write(at("annotate.toml"), config).unwrap();
    let annotate = |chosen: &str, rejected: &str| {
        let pair = serde_json::json!({"prompt": "question 0", "chosen": chosen, "rejected": rejected});
        std::fs::write(at("human.jsonl"), pair.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tureen-trainer"));
        let output = command.args(["annotate", "--config"]).arg(at("annotate.toml")).output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    assert!(annotate("one 0", "two 0").0);
    let (succeeded, text) = annotate("one 0", "two 0");
    assert!(succeeded && text.contains("1 taken up from before"), "{text}");
    let (succeeded, text) = annotate("two 0", "one 0");
    assert!(!succeeded && text.contains("another annotator"), "{text}");
}

/// Prefers the first answer, and gives up after some.
struct Tired(usize);

impl Annotator for Tired {
    fn compare(&mut self, _comparison: Comparison<'_>) -> Result<Choice, TrainError> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| TrainError::Invalid("too tired".into()))?;
        Ok(Choice::First)
    }
}

#[test]
fn a_broken_off_run_takes_up_its_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let answers = answers(folder.path(), 5);
    let error = run(folder.path(), &answers, &mut Tired(3)).unwrap_err();
    assert!(error.contains("too tired"), "{error}");
    let (verdicts, out) = paths(folder.path());
    assert!(!out.exists());
    // A crash cut the last verdict off.
    let text = std::fs::read_to_string(&verdicts).unwrap();
    std::fs::write(&verdicts, &text[..text.len() - 9]).unwrap();
    let (summary, pairs) = run(folder.path(), &answers, &mut Tired(3)).unwrap();
    assert_eq!((summary.pairs, summary.remembered, pairs.len()), (5, 2, 5));
    let (summary, _) = run(folder.path(), &answers, &mut Tired(0)).unwrap();
    assert_eq!(summary.remembered, 5);

    let error =
        tureen_trainer::annotate::annotate(&answers, &mut Tired(9), "another", &verdicts, &out, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("another annotator"), "{error}");
}

#[test]
fn a_broken_line_of_an_answer_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.jsonl");
    for (line, words) in [
        (r#"{"prompt": "a"}"#, "\"answers\" is missing"),
        (r#"{"prompt": "a", "answers": ["b"]}"#, "\"answers\" holds 1 texts"),
        (r#"{"prompt": "a", "answers": ["b", 3]}"#, "\"answers\" is no list of texts"),
        (r#"{"answers": ["b", "c"]}"#, "\"prompt\" is missing"),
    ] {
        std::fs::write(&path, format!("\n{line}\n")).unwrap();
        let error = read_answers(&path).unwrap_err().to_string();
        assert!(error.contains("answers.jsonl:2: ") && error.contains(words), "{error}");
    }
}
