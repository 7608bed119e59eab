//! An evaluation that was broken off ends as if it had not been, and no answer is made twice.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::command::{prepare, run};

const POLES: [&str; 3] = ["elementary", "expert", "friendly"];

fn answers(folder: &Path) -> PathBuf {
    folder.join("out/answers.jsonl")
}

/// What the run left that must not depend on how often it was broken off.
fn written(folder: &Path) -> [Vec<u8>; 3] {
    ["answers.jsonl", "evaluation.json", "evaluation.html"]
        .map(|name| std::fs::read(folder.join("out").join(name)).unwrap())
}

/// Runs to the end, and returns what was told of the answers: made, taken up and shared, study by study.
#[track_caller]
fn counts(config: &Path) -> Vec<(String, [usize; 3])> {
    let (succeeded, text) = run(config);
    assert!(succeeded, "{text}");
    let told = text.lines().filter_map(|line| {
        let (before, counts) = line.split_once(" answers made, ")?;
        let (study, made) = before.rsplit_once(": ")?;
        let (taken_up, shared) = counts.split_once(" taken up, ")?;
        let study = study.rsplit(' ').next()?.to_owned();
        let shared = shared.split(' ').next()?;
        Some((study, [made, taken_up, shared].map(|count| count.parse().unwrap())))
    });
    told.collect()
}

fn sum(counts: &[(String, [usize; 3])], which: usize) -> usize {
    counts.iter().map(|(_, counts)| counts[which]).sum()
}

#[test]
fn no_answer_is_made_twice() {
    let folder = tempfile::tempdir().unwrap();
    let config = prepare(folder.path(), &["elementary", "expert", "friendly", "unfriendly"], "");
    // Eight prompts. Base and soups come again in each combination or study; prompting differs by combination.
    let expected = [
        ("scores", [8 * (1 + 4 + 4), 0, 8 * 3]),
        ("alone", [8 * 4, 0, 8]),
        // Of five shares two are a policy alone, and the middle one is a combination's soup.
        ("control", [8 * 4 * 2, 0, 8 * 4 * 3]),
        ("conflict", [8 * 2 * 3, 0, 8 * 2 * 2]),
    ];
    assert_eq!(counts(&config), expected.map(|(study, counts)| (study.to_owned(), counts)));
    let lines = std::fs::read_to_string(answers(folder.path())).unwrap().lines().count();
    assert_eq!(lines, 8 * (9 + 4 + 8 + 6));
    let before = written(folder.path());
    let again = counts(&config);
    assert_eq!((sum(&again, 0), sum(&again, 1)), (0, lines));
    assert_eq!(written(folder.path()), before);
}

#[test]
fn a_run_that_was_cut_off_anywhere_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let config = prepare(folder.path(), &POLES, "");
    let all = sum(&counts(&config), 0);
    let whole = written(folder.path());
    let lines = &whole[0];
    let ends: Vec<usize> = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    assert_eq!(ends.len(), all);
    // Behind a line, within one, without its line end, and within the first one; never at a whole batch.
    for (cut, left) in [(ends[90], 91), (ends[70] + 40, 71), (ends[36] - 1, 36), (ends[0] / 2, 0)] {
        std::fs::write(answers(folder.path()), &lines[..cut]).unwrap();
        std::fs::remove_file(folder.path().join("out/evaluation.json")).unwrap();
        let told = counts(&config);
        assert_eq!((sum(&told, 0), sum(&told, 1)), (all - left, left));
        assert!(written(folder.path()) == whole, "cut at byte {cut}");
    }
}

#[test]
fn a_killed_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let config = prepare(folder.path(), &POLES, "");
    counts(&config);
    let whole = written(folder.path());
    std::fs::remove_dir_all(folder.path().join("out")).unwrap();

    let mut command = Command::new(env!("CARGO_BIN_EXE_tureen-trainer"));
    let mut child = command.args(["evaluate", "--config"]).arg(&config).stderr(Stdio::piped()).spawn().unwrap();
    let told =
        BufReader::new(child.stderr.take().unwrap()).lines().find(|line| line.as_ref().unwrap().contains("scores: "));
    assert!(told.is_some());
    child.kill().unwrap();
    child.wait().unwrap();

    let made = std::fs::read(answers(folder.path())).unwrap();
    assert!(whole[0].starts_with(&made), "what was killed had written the first answers");
    assert!(sum(&counts(&config), 1) >= 8, "those are taken up");
    assert!(written(folder.path()) == whole);
}

#[test]
fn another_configuration_does_not_use_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let config = prepare(folder.path(), &POLES, "");
    counts(&config);
    let before = written(folder.path());
    let text = std::fs::read_to_string(&config).unwrap();
    let refused = |why: &str| {
        let (succeeded, said) = run(&config);
        assert!(!succeeded && said.contains("answers.jsonl: holds answers of another evaluation"), "{why}: {said}");
        assert_eq!(written(folder.path()), before, "{why}");
    };
    for (from, to) in [("max_new_tokens = 24", "max_new_tokens = 25"), ("resamples", "seed = 8, resamples")] {
        std::fs::write(&config, text.replace(from, to)).unwrap();
        refused(to);
    }
    std::fs::write(&config, &text).unwrap();
    let prompts = folder.path().join("prompts.txt");
    let asked = std::fs::read(&prompts).unwrap();
    std::fs::write(&prompts, [asked.as_slice(), b"And one more?\n"].concat()).unwrap();
    refused("a prompt more");
    prepare(folder.path(), &["elementary", "expert", "unfriendly"], "");
    refused("another pool");
}

#[test]
fn further_methods_and_other_judges_use_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let methods = "[methods.base]\nkind = 'base'\n[methods.soup]\nkind = 'soup'\n";
    let all = sum(&counts(&prepare(folder.path(), &POLES, methods)), 0);
    let before = written(folder.path());
    let more = "[methods.strong]\nkind = 'soup'\nstrength = 2.0\n\
                [judges.friendly.measure]\nmeasure = 'words'\nhigher = true\nmargin = 0.0\n";
    let told = counts(&prepare(folder.path(), &POLES, &format!("{methods}{more}")));
    assert_eq!((sum(&told, 0), sum(&told, 1)), (8 * 2, all), "two combinations of the new method");
    let [answers, evaluation, _] = written(folder.path());
    assert!(answers.starts_with(&before[0]) && evaluation != before[1]);
}

#[test]
fn a_file_that_is_no_journal_or_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = prepare(folder.path(), &POLES, "");
    counts(&config);
    let path = answers(folder.path());
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let numbers = [("\"prompt\":0", "\"prompt\":8", "prompt"), ("\"base_nll\":\"", "\"base_nll\":\"x", "base_nll")];
    let broken = numbers.map(|(from, to, field)| (lines[8].replace(from, to), field));
    for (line, named) in broken.into_iter().chain([("a note".into(), "no record of the evaluation")]) {
        let text = format!("{}\n{line}\n{}\n", lines[..8].join("\n"), lines[9..].join("\n"));
        std::fs::write(&path, &text).unwrap();
        let (succeeded, said) = run(&config);
        assert!(!succeeded && said.contains("answers.jsonl:9: ") && said.contains(named), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(whole.as_bytes()).unwrap();
    file.lock().unwrap();
    let (succeeded, said) = run(&config);
    assert!(!succeeded && said.contains("answers.jsonl: another run is writing to it"), "{said}");
}
