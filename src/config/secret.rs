//! A string that never shows itself.

use std::fmt;

use subtle::ConstantTimeEq;

/// A secret: its `Debug` is masked, it has no `Display`, and comparing takes the same time wherever it differs.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret; an empty one is none.
    pub fn new(value: String) -> Option<Self> {
        (!value.is_empty()).then_some(Self(value))
    }

    /// The secret itself, for whoever must send it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret. Takes time by the length alone.
    pub fn matches(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
