//! From `[[guard.checks]]` to a [`Chain`], with every problem there is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::chain::{Action, Chain, Check, Kind};
use super::lists::{expressions, moderation, personal, word_list};
use super::raw::RawCheck;

/// Checks, at most.
const MOST: usize = 32;

/// The chain of `checks`. What is held needs a store.
///
/// # Errors
/// Everything that is wrong, one line each.
pub(crate) fn build(checks: Vec<RawCheck>, has_store: bool) -> Result<Chain, Vec<String>> {
    let mut problems = Vec::new();
    if checks.len() > MOST {
        problems.push(format!("{} checks; at most {MOST} are allowed", checks.len()));
    }
    let mut names = BTreeSet::new();
    let mut built = Vec::new();
    for (i, raw) in checks.into_iter().enumerate() {
        let place = if raw.name.is_empty() { format!("check {}", i + 1) } else { format!("check {:?}", raw.name) };
        if !raw.name.is_empty() && !names.insert(raw.name.clone()) {
            problems.push(format!("{place}: another check has this name"));
        }
        match check(raw, has_store) {
            Ok(check) => built.push(check),
            Err(own) => problems.extend(own.into_iter().map(|problem| format!("{place}: {problem}"))),
        }
    }
    if problems.is_empty() { Ok(Chain(built.into())) } else { Err(problems) }
}

fn check(raw: RawCheck, has_store: bool) -> Result<Check, Vec<String>> {
    let mut problems = raw.misplaced();
    let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if raw.name.is_empty() || raw.name.len() > 64 || !raw.name.chars().all(named) {
        problems.push("name: 1 to 64 letters, digits, - and _".to_owned());
    }
    let (input, output) = match raw.on.as_deref() {
        Some("input") => (true, false),
        Some("output") => (false, true),
        Some("both") => (true, true),
        None => (true, raw.kind != "drift"),
        Some(_) => {
            problems.push("on: allowed are \"input\", \"output\" and \"both\"".into());
            (true, true)
        }
    };
    if raw.kind == "drift" && output {
        problems.push("on: drift is known before the answer, so it is checked on \"input\"".into());
    }
    let action = Action::ALL.into_iter().find(|action| action.name() == raw.action);
    match action {
        None => problems.push("action: allowed are \"allow\", \"redact\", \"block\" and \"hold\"".into()),
        Some(Action::Hold) if !has_store => {
            problems.push("action = \"hold\" needs a store: [store] url is empty".into());
        }
        Some(Action::Redact) if matches!(&*raw.kind, "moderation" | "drift") => {
            problems.push(format!("a check of kind {:?} knows no place to redact", raw.kind));
        }
        Some(_) => {}
    }
    let name: Arc<str> = raw.name.as_str().into();
    match (kind(raw), action) {
        (Ok(kind), Some(action)) if problems.is_empty() => Ok(Check { name, input, output, action, kind }),
        (kind, _) => {
            problems.extend(kind.err().into_iter().flatten());
            Err(problems)
        }
    }
}

fn kind(raw: RawCheck) -> Result<Kind, Vec<String>> {
    match &*raw.kind {
        "words" => word_list(&raw).map(Kind::Patterns),
        "regex" => expressions(&raw).map(Kind::Patterns),
        "pii" => personal(&raw).map(Kind::Patterns),
        "moderation" => moderation(raw).map(Kind::Moderation),
        "drift" => match raw.max {
            Some(max) if max > 0.0 && max.is_finite() => Ok(Kind::Drift(max)),
            _ => Err(vec!["max: a number above 0".to_owned()]),
        },
        _ => Err(vec!["kind: allowed are \"words\", \"regex\", \"pii\", \"moderation\" and \"drift\"".into()]),
    }
}
