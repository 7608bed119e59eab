//! What checks look for: lists of words and expressions, kinds of personal data, an endpoint.

use std::sync::Arc;
use std::time::Duration;

use super::moderation::{Endpoint, Moderation, QUESTION};
use super::pattern::Pattern;
use super::raw::RawCheck;
use super::{pii, words};
use crate::config::Secret;

/// Entries of one list, at most.
const ENTRIES: usize = 10_000;

/// Patterns, each with what stands in place of a match.
pub(super) type Patterns = Vec<(Arc<Pattern>, Arc<str>)>;

/// What is in the list and in the file.
fn entries(list: &[String], file: Option<&str>) -> Result<Vec<String>, Vec<String>> {
    let mut all = list.to_vec();
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).map_err(|e| vec![format!("file: {file} cannot be read: {e}")])?;
        all.extend(words::lines(&text).map(str::to_owned));
    }
    match all.len() {
        0 => Err(vec!["there is nothing to look for".into()]),
        count if count > ENTRIES => Err(vec![format!("{count} entries; at most {ENTRIES} are allowed")]),
        _ => Ok(all),
    }
}

fn one(raw: &RawCheck, parts: &[String]) -> Result<Patterns, Vec<String>> {
    let pattern = Pattern::new(parts).map_err(|problem| vec![problem])?;
    let replacement = raw.replacement.as_deref().unwrap_or("[redacted]");
    Ok(vec![(Arc::new(pattern), replacement.into())])
}

/// `kind = "words"`
pub(super) fn word_list(raw: &RawCheck) -> Result<Patterns, Vec<String>> {
    let entries = entries(&raw.words, raw.file.as_deref())?;
    let (mut parts, mut problems) = (Vec::new(), Vec::new());
    for entry in &entries {
        match words::expression(entry) {
            Some(expression) => parts.push(expression),
            None => problems.push(format!("words: {entry:?} holds nothing that can be seen")),
        }
    }
    // Of two phrases that begin alike, the longer one is found.
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    if problems.is_empty() { one(raw, &parts) } else { Err(problems) }
}

/// `kind = "regex"`
pub(super) fn expressions(raw: &RawCheck) -> Result<Patterns, Vec<String>> {
    let parts = entries(&raw.patterns, raw.file.as_deref())?;
    // Each alone first, to tell all that are wrong.
    let wrong: Vec<_> = parts.iter().filter_map(|part| Pattern::new(std::slice::from_ref(part)).err()).collect();
    if wrong.is_empty() { one(raw, &parts) } else { Err(wrong) }
}

/// `kind = "pii"`
pub(super) fn personal(raw: &RawCheck) -> Result<Patterns, Vec<String>> {
    let all: Vec<String> = pii::KINDS.iter().map(|kind| kind.name.to_owned()).collect();
    let wanted = raw.types.as_ref().unwrap_or(&all);
    if wanted.is_empty() || wanted.iter().any(|name| !all.contains(name)) {
        return Err(vec![format!("types: allowed are {}", all.join(", "))]);
    }
    let kinds = pii::KINDS.iter().filter(|kind| wanted.iter().any(|name| name == kind.name));
    let pattern = |kind: &pii::Kind| {
        let pattern = Pattern::new(&[kind.expression.to_owned()]).map_err(|problem| vec![problem])?;
        let replacement = raw.replacement.clone().unwrap_or_else(|| format!("[{}]", kind.name));
        Ok((Arc::new(pattern.verified(kind.verify)), replacement.into()))
    };
    kinds.map(pattern).collect()
}

/// `kind = "moderation"`
pub(super) fn moderation(raw: RawCheck) -> Result<Moderation, Vec<String>> {
    let mut problems = Vec::new();
    let open = raw.on_failure.as_deref() == Some("open");
    if !matches!(raw.on_failure.as_deref(), None | Some("open" | "closed")) {
        problems.push("on_failure: allowed are \"open\" and \"closed\"".to_owned());
    }
    let timeout_ms = raw.timeout_ms.unwrap_or(2000);
    if timeout_ms == 0 {
        problems.push("timeout_ms: at least 1".into());
    }
    if raw.window.is_some_and(|window| !(1..=QUESTION).contains(&window)) {
        problems.push(format!("window: from 1 to {QUESTION} characters"));
    }
    let url = raw.endpoint.as_deref().and_then(|text| reqwest::Url::parse(text).ok());
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    if url.is_none() {
        problems.push("endpoint: an http or https URL, for example http://127.0.0.1:9000/v1/moderations".into());
    }
    let Some(url) = url.filter(|_| problems.is_empty()) else { return Err(problems) };
    let endpoint = Endpoint {
        url,
        key: raw.key.and_then(Secret::new),
        model: raw.model,
        categories: raw.categories,
        timeout: Duration::from_millis(timeout_ms),
    };
    Moderation::new(endpoint, raw.window, open).map_err(|problem| vec![problem])
}
