//! What outlives the process: profiles, keys, what feedback left and what waits for a person, in SQLite (the default) or
//! PostgreSQL (for several replicas).
//!
//! There is one implementation, on sqlx's `Any` driver: both databases read the same statements. They differ in how
//! they are opened (`sqlite.rs`, `postgres.rs`) and in their tables' SQL (`migrations/`). One suite of tests runs on both.

mod answers;
mod changes;
mod error;
mod keys;
mod migrations;
mod notices;
mod pairs;
mod postgres;
mod profile;
mod profiles;
mod review;
mod reviews;
mod rollout;
mod sqlite;
mod turns;

use std::path::Path;
use std::time::Duration;

use sqlx::{Any, AnyPool, Transaction};

pub use answers::{KeptAnswer, Words};
pub use changes::{Change, Changed, Edit, Outcome};
pub use error::StoreError;
pub use keys::{KeyRecord, NewKey};
pub use notices::{Notice, Notices, Whose};
pub use pairs::{KeptPair, Pair};
pub use profile::{Draft, Profile, UserId};
pub use profiles::{Erased, Page};
pub use review::{Decided, Held, NewReview, Review, Status};
pub use rollout::KeptRollout;

use crate::config;

/// An open database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    reads: AnyPool,
    /// In SQLite one connection: writers wait here in a fair queue instead of spinning on the file's lock.
    writes: AnyPool,
    kind: Kind,
    /// Where replicas tell each other what they change.
    place: Option<notices::Place>,
    /// No answer takes longer.
    patience: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Store {
    /// Opens the database that `[store] url` names, checks it, and brings its tables to this version's form. A SQLite
    /// file is created when it is missing, readable by its owner alone.
    ///
    /// # Errors
    /// When it cannot be reached, is damaged, or was written by a newer version.
    pub async fn open(config: &config::Store) -> Result<Option<Self>, StoreError> {
        let Some(url) = &config.url else { return Ok(None) };
        sqlx::any::install_default_drivers();
        let url = url.reveal();
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => sqlite::open(url, config).await.map(Some),
            Some("postgres" | "postgresql") => postgres::open(url, config).await.map(Some),
            _ => Err(StoreError::Url("begins with sqlite:// or postgres://".into())),
        }
    }

    /// Copies the whole database to `target` while it is in use. The copy is checked before it gets its name.
    ///
    /// # Errors
    /// When `target` exists, cannot be written, or the database is not SQLite.
    pub async fn backup(&self, target: &Path) -> Result<(), StoreError> {
        match self.kind {
            // Readers may write nothing, not even another file.
            Kind::Sqlite => sqlite::backup(&self.writes, target).await,
            Kind::Postgres => Err(StoreError::NotSupported("PostgreSQL has tools of its own: use pg_dump")),
        }
    }

    /// Ends when every connection is closed. In SQLite the last one brings the write-ahead log into the file.
    pub async fn close(&self) {
        self.reads.close().await;
        self.writes.close().await;
    }

    /// A transaction that may write. SQLite takes the write lock at once: a transaction that read first could not be
    /// sure to get it later.
    async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let statement = match self.kind {
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        };
        Ok(self.writes.begin_with(statement).await?)
    }

    /// `work`, but not for longer than `[store] timeout_ms`. What did not end in time was not acknowledged; it may still
    /// have happened.
    async fn within<T, E: From<StoreError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        tokio::time::timeout(self.patience, work).await.unwrap_or_else(|_| Err(StoreError::Late.into()))
    }
}

/// Milliseconds since 1970, UTC.
pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
