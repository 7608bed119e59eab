//! A user's stored preference.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row};
use tureen_soup::learn::Taste;
use tureen_soup::{MergeOptions, Preference};

use super::StoreError;

const LONGEST_ID_BYTES: usize = 128;

/// A user's name, as whoever keeps the users writes it: 1 to 128 bytes, without spaces and control characters. It is
/// never logged and never a label of a metric.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Takes `text` if it can be a user's name.
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= LONGEST_ID_BYTES;
        (fits && !text.chars().any(|c| c.is_control() || c.is_whitespace())).then(|| Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserId(***)")
    }
}

/// What a user wishes, before it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The weighted wish.
    pub preference: Preference,
    /// How policies are mixed for it.
    pub merge: MergeOptions,
    /// What their choices told: the preference is what that lets expect.
    pub learned: Option<Taste>,
}

/// A stored profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// What the user wishes.
    pub draft: Draft,
    /// Changes with every write, and never comes back: a UUID.
    pub etag: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

/// The columns of a profile. A preference is text, because that brings back every bit of a weight; JSON need not.
#[derive(Serialize, Deserialize)]
pub(super) struct ProfileRow {
    pub(super) preference: String,
    pub(super) merge: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) learned: Option<String>,
    pub(super) etag: String,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
}

impl FromRow<'_, AnyRow> for ProfileRow {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            preference: row.try_get("preference")?,
            merge: row.try_get("merge")?,
            learned: row.try_get("learned")?,
            etag: row.try_get("etag")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

impl TryFrom<ProfileRow> for Profile {
    type Error = StoreError;

    fn try_from(row: ProfileRow) -> Result<Self, StoreError> {
        let ProfileRow { preference, merge, learned, etag, created_at, updated_at } = row;
        let preference = preference.parse().map_err(|_| StoreError::Row("a preference is none".into()))?;
        let merge = serde_json::from_str(&merge).map_err(|e| StoreError::Row(format!("merge options: {e}")))?;
        let learned = learned.map(|text| serde_json::from_str(&text)).transpose();
        let learned = learned.map_err(|e| StoreError::Row(format!("what was learned: {e}")))?;
        Ok(Self { draft: Draft { preference, merge, learned }, etag, created_at, updated_at })
    }
}

impl From<&Profile> for ProfileRow {
    fn from(profile: &Profile) -> Self {
        Self {
            preference: profile.draft.preference.to_string(),
            merge: serde_json::to_string(&profile.draft.merge).expect("numbers and words are always JSON"),
            learned: profile
                .draft
                .learned
                .as_ref()
                .map(|taste| serde_json::to_string(taste).expect("numbers and names are always JSON")),
            etag: profile.etag.clone(),
            created_at: profile.created_at,
            updated_at: profile.updated_at,
        }
    }
}
