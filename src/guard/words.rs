//! `kind = "words"`: whole words and phrases.

use std::sync::LazyLock;

use regex::Regex;

use super::normal::Normal;

/// Scripts that put no space between words: there, a word is found wherever it stands.
static UNSPACED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]").expect("a constant")
});

static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\w").expect("a constant"));

/// The expression that finds `entry` as a whole word; `None` when nothing of it can be seen.
pub(super) fn expression(entry: &str) -> Option<String> {
    let normal = Normal::of(entry);
    let entry = normal.trim();
    let (first, last) = (entry.chars().next()?, entry.chars().next_back()?);
    let (before, after) = (edge(first), edge(last));
    Some(format!("{before}{}{after}", regex::escape(entry)))
}

fn edge(c: char) -> &'static str {
    let text = c.to_string();
    if WORD.is_match(&text) && !UNSPACED.is_match(&text) { r"\b" } else { "" }
}

/// The entries of a file: one a line, without empty lines and those that begin with `#`.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}
