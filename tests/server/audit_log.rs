//! The audit log against whoever edits, removes, moves and cuts, and against crashes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tureen::audit::{
    AnswerRecord, AuditError, EngineRecord, Event, GenerationRecord, Keys, Log, LogOptions, ParametersRecord, Report,
    Scope, SoupRecord, verify,
};
use tureen::config::Secret;

const OPTIONS: LogOptions = LogOptions { segment_bytes: 8000, sync: false };

/// Names of files with their bytes.
type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn keys(secret: &str) -> Keys {
    Keys::new(&Secret::new(secret.to_owned()).unwrap())
}

pub(crate) fn answer(n: usize) -> Event {
    let soup = SoupRecord {
        id: format!("s-{n:032}"),
        weights: "concise=0.6,friendly=0.4".into(),
        method: "exact".into(),
        strength: "1.0".into(),
        normalize: true,
        density: "0.5".into(),
        seed: 0,
    };
    Event::Generation(Box::new(GenerationRecord {
        request: format!("request-{n}"),
        key: Some("0123456789abcdef".into()),
        user: None,
        revision: "r-0123".into(),
        soup,
        asked: None,
        rules: Vec::new(),
        path: "gate".into(),
        parameters: ParametersRecord {
            max_new_tokens: 4,
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 7,
            stop_sequences: 0,
            ignore_eos: false,
            logit_bias: Vec::new(),
        },
        engine: EngineRecord { isa: "avx2".into(), precision: "int8".into(), version: "0.1.0".into() },
        prompt_tokens: 3,
        prompt_fingerprint: "ab".repeat(32),
        answer: AnswerRecord {
            end: "length".into(),
            tokens: 4,
            tokens_fingerprint: "cd".repeat(32),
            text_fingerprint: "ef".repeat(32),
            sent_fingerprint: None,
        },
        guard: Vec::new(),
        prompt: None,
        text: None,
    }))
}

fn open(dir: &Path) -> Result<Log, AuditError> {
    Log::open(dir, keys("secret"), OPTIONS)
}

/// A log of `count` answers.
fn log(count: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    (0..count).for_each(|n| log.append(&[answer(n)]).unwrap());
    dir
}

fn read(dir: &Path) -> Files {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

fn write(dir: &Path, files: &Files) {
    for name in read(dir).keys().filter(|name| !files.contains_key(*name)) {
        fs::remove_file(dir.join(name)).unwrap();
    }
    files.iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
}

fn check(dir: &Path) -> Result<Report, AuditError> {
    verify(dir, &keys("secret"), Scope::default(), |_, _| {})
}

fn is_sound(dir: &Path) -> bool {
    check(dir).is_ok_and(|report| report.problems.is_empty())
}

fn segments(files: &Files) -> Vec<String> {
    files.keys().filter(|name| name.starts_with("audit-")).cloned().collect()
}

/// Every line of the log, with the file it is in.
fn lines(files: &Files) -> Vec<(String, Vec<u8>)> {
    let of = |name: &String| files[name].split_inclusive(|b| *b == b'\n').map(|l| (name.clone(), l.to_vec())).collect();
    segments(files).iter().flat_map(|name| -> Vec<_> { of(name) }).collect()
}

fn with_lines(files: &Files, lines: &[(String, Vec<u8>)]) -> Files {
    let mut changed = files.clone();
    segments(files).iter().for_each(|name| changed.get_mut(name).unwrap().clear());
    lines.iter().for_each(|(name, line)| changed.get_mut(name).unwrap().extend(line));
    changed
}

#[test]
fn a_log_that_nobody_touched_is_sound() {
    let dir = log(30);
    let report = check(dir.path()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(report.segments > 3, "{}", report.segments);
    assert_eq!(report.records, 30 + report.segments as u64, "each segment has a header");
    assert!(lines(&read(dir.path())).iter().all(|(_, line)| serde_json::from_slice::<serde_json::Value>(line).is_ok()));
    let wrong = verify(dir.path(), &keys("another secret"), Scope::default(), |_, _| {});
    assert!(matches!(wrong, Err(AuditError::Tampered(_))));
}

#[test]
fn every_edited_byte_is_found() {
    let dir = log(12);
    let files = read(dir.path());
    let mut mutations = 0;
    for (name, bytes) in files.iter().filter(|(name, _)| *name != "lock") {
        // One byte of each few, each time changed in another way; all of the short ones.
        let stride = if bytes.len() > 1000 { 3 } else { 1 };
        for at in (0..bytes.len()).step_by(stride) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 7) | u8::from(at % 3 == 0) << 5;
            if changed == *bytes {
                continue;
            }
            fs::write(dir.path().join(name), &changed).unwrap();
            assert!(!is_sound(dir.path()), "{name}: byte {at} became {}", changed[at]);
            mutations += 1;
        }
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    assert!(mutations > 3000, "{mutations}");
    assert!(is_sound(dir.path()));
}

#[test]
fn every_removed_repeated_and_swapped_record_is_found() {
    let dir = log(40);
    let files = read(dir.path());
    let all = lines(&files);
    let found = |what: &str, changed: &[(String, Vec<u8>)]| {
        write(dir.path(), &with_lines(&files, changed));
        assert!(!is_sound(dir.path()), "{what}");
    };
    for i in 0..all.len() {
        let mut changed = all.clone();
        changed.remove(i);
        found(&format!("line {i} is removed"), &changed);
        let mut changed = all.clone();
        changed.insert(i, all[i].clone());
        found(&format!("line {i} is there twice"), &changed);
        for j in i + 1..all.len() {
            let mut changed = all.clone();
            (changed[i].1, changed[j].1) = (all[j].1.clone(), all[i].1.clone());
            found(&format!("lines {i} and {j} are swapped"), &changed);
            if (j - i) % 5 == 1 {
                let mut changed = all.clone();
                changed.drain(i..=j);
                found(&format!("lines {i} to {j} are removed"), &changed);
            }
        }
        // A line that wandered over the border of its file keeps its place in the chain.
        if i > 0 && all[i].0 != all[i - 1].0 {
            for (line, home) in [(i, &all[i - 1].0), (i - 1, &all[i].0)] {
                let mut changed = all.clone();
                changed[line].0.clone_from(home);
                found(&format!("line {line} is in the other file"), &changed);
            }
        }
    }
    let foreign = {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path(), keys("another secret"), OPTIONS).unwrap();
        (0..40).for_each(|n| log.append(&[answer(n + 1)]).unwrap());
        lines(&read(dir.path()))
    };
    for i in 0..all.len() {
        let mut changed = all.clone();
        changed[i].1.clone_from(&foreign[i].1);
        found(&format!("line {i} is forged"), &changed);
    }
}

#[test]
fn every_cut_is_found() {
    let dir = log(30);
    let files = read(dir.path());
    let names = segments(&files);
    let last = names.last().unwrap();
    for length in 0..files[last].len() {
        fs::write(dir.path().join(last), &files[last][..length]).unwrap();
        assert!(!is_sound(dir.path()), "cut to {length}");
        assert!(matches!(open(dir.path()), Err(AuditError::Tampered(_))), "cut to {length}");
    }
    for (i, name) in names.iter().enumerate() {
        let mut changed = files.clone();
        changed.remove(name);
        write(dir.path(), &changed);
        assert!(!is_sound(dir.path()), "{name} is removed");
        let mut changed = files.clone();
        names[i..].iter().for_each(|name| drop(changed.remove(name)));
        write(dir.path(), &changed);
        assert!(!is_sound(dir.path()), "all from {name} are removed");
        for other in &names[i + 1..] {
            let mut changed = files.clone();
            changed.insert(name.clone(), files[other].clone());
            changed.insert(other.clone(), files[name].clone());
            write(dir.path(), &changed);
            assert!(!is_sound(dir.path()), "{name} and {other} are swapped");
        }
    }
    let mut changed = files.clone();
    changed.remove("checkpoint.json");
    write(dir.path(), &changed);
    assert!(!is_sound(dir.path()));
    assert!(matches!(open(dir.path()), Err(AuditError::Tampered(_))), "a lost checkpoint must not begin a new log");
}

#[test]
fn a_checkpoint_kept_elsewhere_finds_a_log_that_was_set_back() {
    let dir = log(10);
    let early = read(dir.path());
    let mut log = open(dir.path()).unwrap();
    (0..3).for_each(|n| log.append(&[answer(n)]).unwrap());
    drop(log);
    let elsewhere = tempfile::tempdir().unwrap();
    let kept = elsewhere.path().join("kept.json");
    fs::copy(dir.path().join("checkpoint.json"), &kept).unwrap();
    let scope = Scope { checkpoint: Some(&kept), ..Scope::default() };
    let with_kept = || verify(dir.path(), &keys("secret"), scope, |_, _| {}).unwrap().problems;
    assert!(with_kept().is_empty());
    write(dir.path(), &early);
    assert!(is_sound(dir.path()), "by itself it cannot be told from a log that ended then");
    assert_eq!(with_kept().len(), 1);
}

#[test]
fn earlier_segments_may_be_put_elsewhere_if_one_says_so() {
    let dir = log(30);
    let names = segments(&read(dir.path()));
    fs::remove_file(dir.path().join(&names[0])).unwrap();
    assert!(!is_sound(dir.path()));
    let scope = Scope { from: Some(2), ..Scope::default() };
    let rest = verify(dir.path(), &keys("secret"), scope, |_, _| {}).unwrap();
    assert!(rest.problems.is_empty(), "{:?}", rest.problems);
    fs::remove_file(dir.path().join(&names[2])).unwrap();
    assert!(!verify(dir.path(), &keys("secret"), scope, |_, _| {}).unwrap().problems.is_empty());
}

#[test]
fn what_a_crash_left_unfinished_is_taken_out_and_told() {
    for count in [0, 1, 8] {
        let dir = log(count);
        let before = read(dir.path());
        open(dir.path()).unwrap().append(&[answer(100), answer(101)]).unwrap();
        let after = read(dir.path());
        // The log was written and the checkpoint was not: killed at any byte in between.
        let name = segments(&after).last().unwrap().clone();
        let whole = &after[&name];
        let begin = before.get(&name).map_or(0, Vec::len);
        // Every few bytes, and all around the ends of lines.
        let near_an_end = |end: &usize| whole[end.saturating_sub(2)..whole.len().min(end + 2)].contains(&b'\n');
        for end in (begin..=whole.len()).filter(|end| end % 41 == 0 || near_an_end(end)) {
            let mut crashed = before.clone();
            crashed.insert(name.clone(), whole[..end].to_vec());
            write(dir.path(), &crashed);
            let report = check(dir.path()).unwrap();
            assert!(report.problems.is_empty(), "{count} {end}: {:?}", report.problems);
            let lost = whole[begin..end].iter().rev().take_while(|b| **b != b'\n').count() as u64;
            assert_eq!(report.torn, lost);
            open(dir.path()).unwrap().append(&[answer(102)]).unwrap();
            let report = check(dir.path()).unwrap();
            assert!(report.problems.is_empty(), "{count} {end}: {:?}", report.problems);
            assert_eq!(report.torn, 0);
            // In a segment without a line there is nothing to take out: it begins again.
            let begun = whole[..end].contains(&b'\n');
            assert_eq!(report.healed, u64::from(lost > 0 && begun), "{count} {end}");
            let kept = whole[begin..end].iter().filter(|b| **b == b'\n').count() as u64;
            let headers = segments(&read(dir.path())).len() as u64 - u64::from(begin == 0 && kept > 0);
            assert_eq!(report.records, count as u64 + headers + kept + 1 + report.healed, "{count} {end}");
        }
    }
}

#[test]
fn a_crash_hides_no_tampering() {
    let dir = log(5);
    let before = read(dir.path());
    open(dir.path()).unwrap().append(&[answer(100), answer(101)]).unwrap();
    let after = read(dir.path());
    let name = segments(&after).last().unwrap().clone();
    let begin = before[&name].len();
    // Whole lines behind the checkpoint must continue the chain.
    for at in (begin..after[&name].len() - 1).step_by(5) {
        let mut crashed = before.clone();
        let mut bytes = after[&name].clone();
        bytes[at] ^= 1;
        crashed.insert(name.clone(), bytes);
        write(dir.path(), &crashed);
        assert!(!is_sound(dir.path()), "{at}");
        assert!(matches!(open(dir.path()), Err(AuditError::Tampered(_))), "{at}");
    }
}

#[test]
fn one_process_writes_a_log() {
    let dir = log(1);
    let first = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(AuditError::Locked)));
    assert!(is_sound(dir.path()), "reading is free");
    drop(first);
    open(dir.path()).unwrap();
}

/// TUREEN_AUDIT_RECORDS=1000000 with `--release -- --nocapture` tells how long that many take to verify.
#[test]
fn many_records_are_sound() {
    let count: usize = std::env::var("TUREEN_AUDIT_RECORDS").map_or(2000, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), keys("secret"), LogOptions { segment_bytes: 64 << 20, sync: false }).unwrap();
    for begin in (0..count).step_by(250) {
        log.append(&(begin..count.min(begin + 250)).map(answer).collect::<Vec<_>>()).unwrap();
    }
    let bytes: usize = read(dir.path()).values().map(Vec::len).sum();
    let begun = std::time::Instant::now();
    let report = check(dir.path()).unwrap();
    println!("{} records, {bytes} bytes, verified in {:.2} s", report.records, begun.elapsed().as_secs_f64());
    assert!(report.problems.is_empty());
    assert_eq!(report.records, (count + report.segments) as u64);
}
