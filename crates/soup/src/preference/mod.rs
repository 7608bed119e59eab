//! What a request wishes for: policies with weights.

mod error;
mod parse;
mod patch;

use std::collections::BTreeMap;

pub use error::PreferenceError;
pub use patch::PreferencePatch;
use serde::{Serialize, Serializer};

/// Policy names with weights; empty is the base. Weights are finite and at least 0, and no name comes twice: what was
/// parsed as JSON, text or pairs has passed that.
///
/// Weights are `f64` because `1e39` read as `f32` is infinite without a word.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Preference(BTreeMap<String, f64>);

impl Preference {
    /// From pairs of policy name and weight.
    ///
    /// # Errors
    /// [`PreferenceError::Invalid`] for an empty name, a name that comes twice, or a weight that is negative or not
    /// finite.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, f64)>) -> Result<Self, PreferenceError> {
        let mut map = BTreeMap::new();
        for (name, weight) in pairs {
            if name.is_empty() {
                return Err(PreferenceError::Invalid("a policy's name is empty".into()));
            }
            if !weight.is_finite() || weight < 0.0 {
                let name = shown(&name);
                let detail = format!("the weight of {name:?} is {weight}: it must be finite and at least 0");
                return Err(PreferenceError::Invalid(detail));
            }
            if map.contains_key(&name) {
                return Err(PreferenceError::Invalid(format!("{:?} is there twice", shown(&name))));
            }
            // Adding 0 turns -0 into 0: equal wishes must have equal bits.
            map.insert(name, weight + 0.0);
        }
        Ok(Self(map))
    }

    /// Names and weights, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, weight)| (name.as_str(), *weight))
    }

    /// How many policies are named.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is named: the wish for the base.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Preference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

/// A name for a message: none that exists is longer, and a request may send a megabyte.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}
