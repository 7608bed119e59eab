//! Changing a preference bit by bit.

use serde::de::{Deserialize, Deserializer};

use super::{Preference, PreferenceError};
use crate::unique::UniqueMap;

/// A merge patch (RFC 7396) of a preference: a weight sets a policy, `null` takes it out, and policies that are not
/// named stay as they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PreferencePatch(Vec<(String, Option<f64>)>);

impl Preference {
    /// This preference after `patch`.
    ///
    /// # Errors
    /// [`PreferenceError::Invalid`], as of [`Preference::from_pairs`].
    pub fn patched(&self, patch: &PreferencePatch) -> Result<Self, PreferenceError> {
        let stays = |name: &str| patch.0.iter().all(|(patched, _)| patched != name);
        let kept = self.iter().filter(|(name, _)| stays(name)).map(|(name, weight)| (name.to_owned(), weight));
        let set = patch.0.iter().filter_map(|(name, weight)| Some((name.clone(), (*weight)?)));
        Self::from_pairs(kept.chain(set))
    }
}

impl<'de> Deserialize<'de> for PreferencePatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        UniqueMap::deserialize(deserializer).map(|UniqueMap(pairs)| Self(pairs))
    }
}
