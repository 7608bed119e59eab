//! `rank_pattern` and `alpha_pattern`: values for single modules.

use serde_json::Value;

use crate::problem::Problems;
use crate::unique::UniqueMap;

/// Module names with values; the first that matches counts.
///
/// PEFT matches each key as the regular expression `(.*\.)?KEY$`. Keys that are plain names mean the same without one;
/// others are refused rather than guessed at.
#[derive(Debug, Default)]
pub(super) struct Pattern(Vec<(String, f64)>);

impl Pattern {
    /// Adds a problem for each key that is no plain name and each value that is not a number above 0.
    pub(super) fn new(key: &str, entries: UniqueMap<Value>, place: &str, problems: &mut Problems) -> Self {
        let mut pattern = Vec::new();
        for (name, value) in entries.0 {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            if name.is_empty() || !name.chars().all(plain) {
                problems.add(place, format_args!("{key} {name:?} is a regular expression: name the modules plainly"));
            }
            match value.as_f64() {
                Some(number) if number > 0.0 && number.is_finite() => pattern.push((name, number)),
                _ => problems.add(place, format_args!("{key} {name:?} is {value}, not a number above 0")),
            }
        }
        Self(pattern)
    }

    /// The value for `module`.
    pub(super) fn get(&self, module: &str) -> Option<f64> {
        self.0.iter().find(|(key, _)| is_or_ends_with(module, key)).map(|(_, value)| *value)
    }
}

/// Whether `module` is `name`, or ends with it at a dot.
pub(super) fn is_or_ends_with(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
