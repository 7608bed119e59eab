//! `[[guard.checks]]` as typed.

use serde::Deserialize;

/// One check as typed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawCheck {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) on: Option<String>,
    pub(super) action: String,
    pub(super) words: Vec<String>,
    pub(super) patterns: Vec<String>,
    pub(super) file: Option<String>,
    pub(super) types: Option<Vec<String>>,
    pub(super) replacement: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) model: Option<String>,
    pub(super) key: Option<String>,
    pub(super) categories: Vec<String>,
    pub(super) window: Option<usize>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) on_failure: Option<String>,
    pub(super) max: Option<f64>,
}

impl RawCheck {
    /// Keys that mean nothing to a check of this kind.
    pub(super) fn misplaced(&self) -> Vec<String> {
        let patterns: &[&str] = &["words", "regex"];
        let asks: &[&str] = &["moderation"];
        let given: [(&str, bool, &[&str]); 13] = [
            ("words", !self.words.is_empty(), &["words"]),
            ("patterns", !self.patterns.is_empty(), &["regex"]),
            ("file", self.file.is_some(), patterns),
            ("types", self.types.is_some(), &["pii"]),
            ("replacement", self.replacement.is_some(), &["words", "regex", "pii"]),
            ("endpoint", self.endpoint.is_some(), asks),
            ("model", self.model.is_some(), asks),
            ("key", self.key.is_some(), asks),
            ("categories", !self.categories.is_empty(), asks),
            ("window", self.window.is_some(), asks),
            ("timeout_ms", self.timeout_ms.is_some(), asks),
            ("on_failure", self.on_failure.is_some(), asks),
            ("max", self.max.is_some(), &["drift"]),
        ];
        let wrong = given.iter().filter(|(_, given, kinds)| *given && !kinds.contains(&&*self.kind));
        wrong.map(|(key, ..)| format!("{key}: a check of kind {:?} does not have it", self.kind)).collect()
    }
}
