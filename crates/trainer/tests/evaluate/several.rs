//! Several answers to each prompt.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tureen_trainer::evaluation::{Duel, Evaluation, bootstrap};
use tureen_trainer::reward::Measure;

use super::command::{judged, prepare, run};
use super::stub::{Request, Stub, says};

/// A configuration with `answers` to each prompt that compares two policies alone, with `more` tables.
fn asking(folder: &Path, answers: usize, more: &str) -> PathBuf {
    let poles = ["elementary", "friendly"];
    let config = prepare(folder, &poles, &format!("mixed = ['elementary']\n[methods.base]\nkind = 'base'\n{more}"));
    let text = std::fs::read_to_string(&config).unwrap();
    let several = format!("generation = {{ answers_per_prompt = {answers}, ");
    std::fs::write(&config, text.replace("generation = { ", &several)).unwrap();
    config
}

#[track_caller]
fn evaluated(folder: &Path, answers: usize, more: &str) -> Evaluation {
    let (succeeded, text) = run(&asking(folder, answers, more));
    assert!(succeeded, "{text}");
    serde_json::from_slice(&written(folder, "evaluation.json")).unwrap()
}

fn written(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join("out").join(name)).unwrap()
}

/// The records of the answers, in the file's order.
fn records(folder: &Path) -> Vec<Value> {
    let text = String::from_utf8(written(folder, "answers.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The texts of each soup, those of the one that was asked first at the front, by prompt and draw.
fn texts(records: &[Value]) -> Vec<Vec<Vec<String>>> {
    let mut soups: Vec<&Value> = Vec::new();
    let mut texts: Vec<Vec<Vec<String>>> = Vec::new();
    for record in records {
        let soup = soups.iter().position(|soup| **soup == record["soup"]).unwrap_or(soups.len());
        if soup == soups.len() {
            soups.push(&record["soup"]);
            texts.push(vec![Vec::new(); 8]);
        }
        let answers = &mut texts[soup][record["prompt"].as_u64().unwrap() as usize];
        assert_eq!(record["draw"].as_u64().unwrap_or(0), answers.len() as u64, "draws come in order");
        answers.push(record["answer"].as_str().unwrap().to_owned());
    }
    texts
}

#[test]
fn figures_are_means_over_prompts_of_all_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let longer = |request: &Request| match point(&request.answer("A"), &request.answer("B")) {
        0.0 => says("B"),
        1.0 => says("A"),
        _ => says("tie"),
    };
    let stub = Stub::start(move |_, request| longer(request));
    let evaluation = evaluated(folder.path(), 2, &judged(&stub));
    let html = String::from_utf8(written(folder.path(), "evaluation.html")).unwrap();
    assert_eq!((evaluation.prompts, evaluation.answers_per_prompt), (8, 2));
    assert!(html.contains("2 answers each of at most 24 tokens"));

    let texts = texts(&records(folder.path()));
    let [base, elementary, friendly] = texts.as_slice() else { panic!("{} soups answered", texts.len()) };
    assert!(base.iter().any(|answers| answers[0] != answers[1]), "the draws differ");
    // What elementary is scored by: the mean of a prompt's answers, and those means resampled.
    let grades = base.iter().map(|answers| {
        let grades = [&answers[0], &answers[1]].map(|text| Measure::FleschKincaid.of(text));
        (grades[0] + grades[1]) / 2.0
    });
    let shown = &evaluation.scores[0].measures[0];
    assert_eq!(shown.score, bootstrap(&grades.collect::<Vec<_>>(), 200, 7));

    for (duel, own) in evaluation.alone.iter().zip([elementary, friendly]) {
        let points = own.iter().zip(base).map(|(own, base)| [0, 1].map(|draw| point(&own[draw], &base[draw])));
        let points: Vec<[f64; 2]> = points.collect();
        let count = |value: f64| points.iter().flatten().filter(|point| **point == value).count();
        assert_eq!((duel.wins, duel.ties, duel.losses), (count(1.0), count(0.5), count(0.0)));
        let means: Vec<f64> = points.iter().map(|[one, two]| (one + two) / 2.0).collect();
        assert_eq!(duel.rate, bootstrap(&means, 200, 7));
    }
    let decided = |duel: &Duel| duel.wins + duel.losses;
    assert!(evaluation.alone.iter().map(decided).sum::<usize>() > 16);
}

/// The judge: the longer answer wins.
fn point(first: &str, second: &str) -> f64 {
    match first.len().cmp(&second.len()) {
        Ordering::Greater => 1.0,
        Ordering::Equal => 0.5,
        Ordering::Less => 0.0,
    }
}

#[test]
fn the_answers_of_a_run_with_fewer_are_its_first_ones() {
    let folder = tempfile::tempdir().unwrap();
    evaluated(folder.path(), 1, "");
    let [one_each, first] = ["answers.jsonl", "evaluation.json"].map(|name| written(folder.path(), name));
    assert!(records(folder.path()).iter().all(|record| record.get("draw").is_none()));
    assert!(!String::from_utf8(first.clone()).unwrap().contains("answers_per_prompt"));

    let several = evaluated(folder.path(), 3, "");
    assert!(written(folder.path(), "answers.jsonl").starts_with(&one_each));
    assert_eq!(records(folder.path()).len(), 3 * 3 * 8);
    let json = written(folder.path(), "evaluation.json");
    evaluated(folder.path(), 3, "");
    assert_eq!(written(folder.path(), "evaluation.json"), json, "all answers were there");

    // Made at once, in another order, the answers are the same.
    let other = tempfile::tempdir().unwrap();
    assert_eq!(evaluated(other.path(), 3, "").alone.len(), several.alone.len());
    let of_soup = |folder: &Path| texts(&records(folder));
    assert_eq!(of_soup(folder.path()), of_soup(other.path()));

    // Fewer leave the others alone.
    evaluated(folder.path(), 1, "");
    assert_eq!(written(folder.path(), "evaluation.json"), first);
    assert_eq!(records(folder.path()).len(), 3 * 3 * 8);
}

#[test]
fn a_run_of_several_answers_that_was_cut_off_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    evaluated(folder.path(), 3, "");
    let files = ["answers.jsonl", "evaluation.json", "evaluation.html"];
    let whole = files.map(|name| written(folder.path(), name));
    // Between the draws of a prompt, within a line.
    let end = whole[0].iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).nth(30).unwrap();
    std::fs::write(folder.path().join("out/answers.jsonl"), &whole[0][..end + 40]).unwrap();
    evaluated(folder.path(), 3, "");
    assert!(files.map(|name| written(folder.path(), name)) == whole);
}

#[test]
fn a_number_of_answers_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for answers in [0, 65] {
        let (succeeded, text) = run(&asking(folder.path(), answers, ""));
        assert!(!succeeded && text.contains("answers_per_prompt must be from 1 to 64"), "{text}");
    }
}
