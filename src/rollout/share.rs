//! Who gets the candidate.

use std::collections::HashSet;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tureen_soup::Revision;

use crate::auth::Caller;
use crate::order::Wish;
use crate::store::UserId;

/// Which requests the candidate serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// So many of a hundred users, 0 to 100.
    Percent(f64),
    /// These users, whichever owner's they are.
    Users(HashSet<Mark>),
}

/// A user who is named for a candidate, without the name: a hash of both. Who is named is stored, and a user who is erased is
/// not to be found there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark(String);

impl Mark {
    /// `user`, for the candidate with this revision.
    pub fn new(revision: &str, user: &UserId) -> Self {
        let length = (revision.len() as u64).to_le_bytes();
        let hash = Sha256::new().chain_update(length).chain_update(revision).chain_update(user.as_str());
        Self(hex::encode(&hash.finalize()[..16]))
    }
}

/// For whom a request is.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    owner: &'a str,
    name: Name<'a>,
}

/// What tells requests of one owner apart.
#[derive(Debug, Clone, Copy)]
enum Name<'a> {
    User(&'a UserId),
    Key(&'a str),
    Nobody,
}

impl<'a> Subject<'a> {
    /// The user whose profile is asked for, or else the key that asks.
    pub fn new(caller: &'a Caller, wish: &'a Wish) -> Self {
        let name = match (wish, caller.key()) {
            (Wish::Profile { user, .. }, _) => Name::User(user),
            (Wish::Inline { .. }, Some(key)) => Name::Key(key),
            (Wish::Inline { .. }, None) => Name::Nobody,
        };
        Self { owner: caller.owner(), name }
    }

    /// Where it stands among all, from 0 up to but not 1: the same for one salt and revision, on every server and after
    /// every restart; for another revision somewhere else.
    fn place(&self, salt: &str, revision: &Revision) -> f64 {
        let (kind, name) = match self.name {
            Name::User(user) => ("user", user.as_str()),
            Name::Key(key) => ("key", key),
            Name::Nobody => ("owner", ""),
        };
        let mut hash = Hmac::<Sha256>::new_from_slice(salt.as_bytes()).expect("a key of any length will do");
        for field in [revision.to_string().as_str(), kind, self.owner, name] {
            hash.update(&(field.len() as u64).to_le_bytes());
            hash.update(field.as_bytes());
        }
        let hash = hash.finalize().into_bytes();
        let first = hash.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        // As many bits as a double holds, so that nothing is rounded up to 1.
        (first >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Share {
    /// Whether `subject` is in it. Whoever is in some percentage is in every larger one.
    pub fn contains(&self, subject: &Subject<'_>, salt: &str, revision: &Revision) -> bool {
        match (self, subject.name) {
            (Self::Percent(percent), _) => subject.place(salt, revision) < percent / 100.0,
            (Self::Users(users), Name::User(user)) => users.contains(&Mark::new(&revision.to_string(), user)),
            (Self::Users(_), _) => false,
        }
    }
}
