//! What a key may be used for.

use std::fmt;
use std::str::FromStr;

/// One thing a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Generate text, also with the profiles of the key's owner.
    Generate,
    /// Read profiles.
    ProfilesRead,
    /// Change and erase profiles.
    ProfilesWrite,
    /// Teach profiles.
    Feedback,
    /// List users, and run the server.
    Admin,
    /// Read the metrics.
    Metrics,
}

/// A scope's name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{:?} is no scope: use {}", .0, Scopes::all())]
pub struct UnknownScope(String);

impl Scope {
    const ALL: [(Self, &str); 6] = [
        (Self::Generate, "generate"),
        (Self::ProfilesRead, "profiles:read"),
        (Self::ProfilesWrite, "profiles:write"),
        (Self::Feedback, "feedback"),
        (Self::Admin, "admin"),
        (Self::Metrics, "metrics"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(scope, _)| *scope == self).expect("ALL lists every scope").1
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(scope, _)| *scope).ok_or_else(|| UnknownScope(text.chars().take(64).collect()))
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// All there are.
    pub fn all() -> Self {
        Scope::ALL.iter().map(|(scope, _)| *scope).collect()
    }

    /// Whether `scope` is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Takes `scope` out.
    pub fn remove(&mut self, scope: Scope) {
        self.0 &= !(1 << scope as u8);
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | (1 << scope as u8)))
    }
}

/// Names, separated by commas.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Scope::ALL.iter().filter(|(s, _)| self.contains(*s)).map(|(_, name)| *name).collect();
        f.write_str(&names.join(","))
    }
}
